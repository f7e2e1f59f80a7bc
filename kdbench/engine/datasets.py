"""A plugin's raw data made ready to train on: cleaned, split, preprocessed and fingerprinted."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdbench.catalog import Entry
from kdbench.data import Data, DatasetInfo, Preprocess, Task
from kdbench.engine.cleaning import Checked, check_and_clean
from kdbench.engine.disk_view import DiskView, Inputs
from kdbench.engine.once import PROTOCOL, content_sum, is_on_disk, once
from kdbench.engine.preprocessing import CHUNK_BYTES, Moments, as_images, given_moments, moments_of, transformed
from kdbench.engine.splits import Positions, draw_fold, draw_split
from kdbench.engine.tasks import kind_of
from kdbench.errors import InvalidData, KdbenchError, UnknownName, UsageError
from kdbench.names import did_you_mean
from kdbench.preparation import Preparation


@dataclass(frozen=True, eq=False)
class Split:
    """Items of one split.

    Args:
        inputs: one float32 tensor per view, shape (N, ...), or what gives its rows from disk.
        labels: int64, shape (N,), or (N, L) for a language-modeling task; float32, (N, C), for a multi-label one.
        index: int64, shape (N,): the items' positions in the raw data, ascending.
        targets: float32, (N, D): what the items of a retrieval task have to find, where it has that.
        parts: int64, (N, 2): of items that are scored together, the whole of each and where in it (`Data.parts`).
    """

    inputs: Mapping[str, Inputs]
    labels: Tensor
    index: Tensor
    targets: Tensor | None = None
    parts: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that is ready to train on.

    Args:
        name: as it was selected.
        task: one of kdbench.engine.tasks.
        classes: class names, or tokens, by index; of a retrieval task there need not be any.
        outputs: how many numbers a model says of an item or token.
        train, validation, test: the splits; none shares an item, or an exact copy of one, with another.
        fingerprint: SHA-256, hex, of the cleaned data and of everything that decides its splits; the fold is not in it.
        views: names of the views.
        removed: items left out as duplicates, or as labelled in two ways.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    fingerprint: str
    views: tuple[str, ...]
    removed: int
    outputs: int

    def view(self, name: str | None) -> str:
        """The view of that name; None is the only view. Raises: UsageError, UnknownName."""
        if name is None:
            if len(self.views) == 1:
                return self.views[0]
            raise UsageError(
                f"dataset {self.name!r} has several views: {', '.join(self.views)}",
                "a model sees one of them",
                f"--set teacher_view={self.views[0]} --set student_view={self.views[-1]}",
            )
        if name not in self.views:
            raise UnknownName(
                f"dataset {self.name!r} has no view {name!r}",
                did_you_mean(name, self.views),
                f"its views: {', '.join(self.views)}",
            )
        return name

    def info(self, view: str | None) -> DatasetInfo:
        """What a model factory may know of one view. Raises: UsageError, UnknownName."""
        view = self.view(view)
        return DatasetInfo(
            name=self.name,
            task=self.task,
            num_classes=self.outputs,
            input_shape=tuple(self.train.inputs[view].shape[1:]),
            train_size=len(self.train.labels),
            view=view,
            class_names=self.classes,
            label_shape=tuple(self.train.labels.shape[1:]),
        )


def read(entry: Entry) -> Data:
    """What the dataset's factory gives. Raises: InvalidData naming its plugin where it raises anything untyped."""
    factory = entry.load()
    try:
        data: Data = factory()
    except KdbenchError:
        raise
    except Exception as error:  # a factory is third-party code: its error is attributed and re-raised typed
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise InvalidData(
            f"dataset {entry.name!r} of plugin {entry.plugin!r} cannot be read",
            f"its factory raised {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
        ) from error
    return data


def prepare(name: str, data: Data, *, fold: int | None, folds: int | None) -> Dataset:
    """Check, clean, split, preprocess and fingerprint raw data.

    Without folds the split is the official one, completed where it lacks a part, or 60/20/20; with `folds` it is
    number `fold` of a K-fold. It is stratified and depends on the data alone, never on a seed. Preprocessing is fitted
    on the train split, but for channels whose statistics are given.

    Raises: InvalidData, naming the dataset, the place and what to do.
    """
    checked = check_and_clean(name, data)
    arguments = (name, *checked.strata, checked.official, checked.groups)
    if fold is None and folds is None:
        split = draw_split(*arguments)
    elif fold is not None and folds is not None:
        split = draw_fold(*arguments, fold=fold, folds=folds)
    else:
        raise InvalidData(f"dataset {name!r}: fold {fold} of {folds} folds", "both are needed, or neither")
    inputs: dict[str, dict[str, Inputs]] = {part: {} for part in split}
    for view, array in checked.views.items():
        how = checked.preprocess[view]
        images = as_images(array) if how == "image" else array
        moments: Moments | None = None
        if how == "image" and checked.channels is not None:
            moments = given_moments(checked.channels, images.dtype)
        elif how != "none":
            moments = _moments(name, images, checked.kept[split["train"]], how)
        for part, positions in split.items():
            items = checked.kept[positions]
            if is_on_disk(array):
                inputs[part][view] = DiskView(images, items, moments)
                continue
            inputs[part][view] = values = transformed(images, items, how, moments)
            if array.dtype != np.uint8:  # bytes fit, whatever the moments
                _check_range(name, view, how, values)
    splits = {
        part: Split(
            inputs[part],
            torch.from_numpy(checked.labels[positions]),
            torch.from_numpy(checked.kept[positions]),
            None if checked.targets is None else torch.from_numpy(checked.targets[positions]),
            None if checked.parts is None else torch.from_numpy(checked.parts[positions]),
        )
        for part, positions in split.items()
    }
    return Dataset(
        name=name,
        task=data.task,
        classes=checked.classes,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        fingerprint=_fingerprint(name, checked),
        views=tuple(checked.views),
        removed=checked.removed,
        outputs=kind_of(data.task).outputs(data, checked.classes),
    )


def _moments(name: str, images: NDArray[Any], train: Positions, how: Preprocess) -> Moments:
    def found() -> NDArray[np.float64]:
        return np.stack(moments_of(images, train, how, what=f"{name}: statistics of its train items"))

    mean, scale = once(name, {"images": images}, "moments", lambda: [how, content_sum(train)], found)
    return mean, scale


def _check_range(name: str, view: str, how: Preprocess, values: Tensor) -> None:
    if bool(torch.isfinite(values).all()):
        return
    raise InvalidData(
        f"dataset {name!r}, view {view!r} has values that float32 cannot hold",
        f"after preprocessing {how!r} the largest magnitude is above 3.4e38",
        "scale its columns",
    )


def _fingerprint(name: str, checked: Checked) -> str:
    """SHA-256 over the cleaned content, its description, the official split, the groups, and the wholes of parts."""
    views = {view: (_canonical(array).str, array.shape[1:]) for view, array in checked.views.items()}
    header = [PROTOCOL, len(checked.kept), checked.classes, views, dict(checked.preprocess)]
    header += [checked.official is not None, checked.groups is not None]
    if checked.channels is not None:  # fingerprints are those of the versions that knew the train items' alone
        header.append(checked.channels)
    rest = [checked.labels.astype("<i8")]
    if checked.targets is not None:
        rest.append(np.ascontiguousarray(checked.targets.astype("<f4")))
    if checked.official is not None:
        rest.append(np.frombuffer("\n".join(checked.official.tolist()).encode(), dtype=np.uint8))
    if checked.groups is not None:
        rest.append(checked.groups.astype("<i8"))
    if checked.parts is not None:
        rest.append(checked.parts.astype("<i8"))

    def found() -> NDArray[np.uint8]:
        digest = hashlib.sha256(msgspec.json.encode(header))
        for array in checked.views.values():
            rows = max(1, CHUNK_BYTES // (array.nbytes // len(array)))
            progress = Preparation(f"{name}: fingerprint", len(checked.kept))
            for start in range(0, len(checked.kept), rows):
                chunk = array[checked.kept[start : start + rows]].astype(_canonical(array), copy=False)
                digest.update(np.ascontiguousarray(chunk).data)
                progress.done(start + len(chunk))
        for described in rest:
            digest.update(described.data)
        return np.frombuffer(digest.digest(), dtype=np.uint8)

    def parts() -> list[Any]:
        return [header, *map(content_sum, [checked.kept, *rest])]

    return once(name, checked.views, "fingerprint", parts, found).tobytes().hex()


def _canonical(array: NDArray[Any]) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<")
