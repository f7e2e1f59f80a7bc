"""A plugin's raw data made ready to train on: cleaned, split, preprocessed and fingerprinted."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Mapping
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
from kdbench.engine.splits import Positions, draw_fold, draw_split
from kdbench.engine.tasks import kind_of
from kdbench.errors import InvalidData, KdbenchError, UnknownName, UsageError
from kdbench.names import did_you_mean

PROTOCOL = 1
"""Version of cleaning, splitting and preprocessing; a change of any of them changes every fingerprint."""

_CHUNK_BYTES = 1 << 23
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Split:
    """Items of one split.

    Args:
        inputs: one float32 tensor per view, shape (N, ...).
        labels: int64, shape (N,), or (N, L) for a language-modeling task; float32, (N, C), for a multi-label one.
        index: int64, shape (N,): the items' positions in the raw data, ascending.
        targets: float32, (N, D): what the items of a retrieval task have to find, where it has that.
        parts: int64, (N, 2): of items that are scored together, the whole of each and where in it (`Data.parts`).
    """

    inputs: Mapping[str, Tensor]
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
    on the train split.

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
    inputs: dict[str, dict[str, Tensor]] = {part: {} for part in split}
    for view, array in checked.views.items():
        how = checked.preprocess[view]
        images = _as_images(array) if how == "image" else array
        moments = _moments(images, checked.kept[split["train"]], how) if how != "none" else None
        for part, positions in split.items():
            inputs[part][view] = _transformed(images, checked.kept[positions], how, moments)
            if array.dtype != np.uint8:  # bytes fit, whatever the moments
                _check_range(name, view, how, inputs[part][view])
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
        fingerprint=_fingerprint(checked),
        views=tuple(checked.views),
        removed=checked.removed,
        outputs=kind_of(data.task).outputs(data, checked.classes),
    )


def _as_images(array: NDArray[Any]) -> NDArray[Any]:
    return array[:, None] if array.ndim == 3 else array


def _moments(array: NDArray[Any], train: Positions, how: Preprocess) -> Moments:
    """Mean and 1/deviation on the train items, shaped to broadcast over one item.

    Per channel for images, per value otherwise (bytes are not scaled to [0, 1] first: it would cancel).
    1/deviation is 0 where the train items are all equal, up to rounding: the bound is
    scikit-learn's, n·ε·var + (n·ε·mean)².
    """
    axes = (0, 2, 3) if how == "image" else (0,)
    shape = (array.shape[1], 1, 1) if how == "image" else array.shape[1:]
    count = len(train) * (array[0, 0].size if how == "image" else 1)
    mean = np.zeros(shape)
    for chunk in _chunks(array, train, np.float64):
        mean += chunk.sum(axis=axes).reshape(shape)
    mean /= count
    variance = np.zeros(shape)
    for chunk in _chunks(array, train, np.float64):
        chunk -= mean
        np.square(chunk, out=chunk)
        variance += chunk.sum(axis=axes).reshape(shape)
    variance /= count
    noise = count * np.finfo(np.float64).eps
    constant = variance <= noise * variance + (noise * mean) ** 2
    return mean, np.where(constant, 0.0, 1.0 / np.sqrt(np.where(constant, 1.0, variance)))


def _transformed(array: NDArray[Any], items: Positions, how: Preprocess, moments: Moments | None) -> Tensor:
    """The items as float32. Bytes are standardised in float32, everything else in float64 (large offsets)."""
    out = np.empty((len(items), *array.shape[1:]), dtype=np.float32)
    dtype = np.float32 if array.dtype == np.uint8 else np.float64
    rows = max(1, _CHUNK_BYTES // (array[0].size * np.dtype(dtype).itemsize))
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is refused by name afterwards
        for start in range(0, len(items), rows):
            chunk, into = array[items[start : start + rows]], out[start : start + rows]
            if moments is None:
                into[...] = chunk
                continue
            mean, scale = (moment.astype(dtype) for moment in moments)
            part = np.subtract(chunk, mean, out=into if dtype == np.float32 else None, dtype=dtype)
            np.multiply(part, scale, out=into, casting="same_kind")
    return torch.from_numpy(out)


def _chunks(array: NDArray[Any], items: Positions, dtype: type[np.floating[Any]]) -> Iterator[NDArray[Any]]:
    """Copies of a few items at a time, as floats."""
    rows = max(1, _CHUNK_BYTES // (array[0].size * np.dtype(dtype).itemsize))
    for start in range(0, len(items), rows):
        yield array[items[start : start + rows]].astype(dtype)


def _check_range(name: str, view: str, how: Preprocess, values: Tensor) -> None:
    if bool(torch.isfinite(values).all()):
        return
    raise InvalidData(
        f"dataset {name!r}, view {view!r} has values that float32 cannot hold",
        f"after preprocessing {how!r} the largest magnitude is above 3.4e38",
        "scale its columns",
    )


def _fingerprint(checked: Checked) -> str:
    """SHA-256 over the cleaned content, its description, the official split, the groups, and the wholes of parts."""
    digest = hashlib.sha256()
    views = {view: (_canonical(array).str, array.shape[1:]) for view, array in checked.views.items()}
    header = [PROTOCOL, len(checked.kept), checked.classes, views, dict(checked.preprocess)]
    digest.update(msgspec.json.encode([*header, checked.official is not None, checked.groups is not None]))
    for array in checked.views.values():
        rows = max(1, _CHUNK_BYTES // (array.nbytes // len(array)))
        for start in range(0, len(checked.kept), rows):
            chunk = array[checked.kept[start : start + rows]].astype(_canonical(array), copy=False)
            digest.update(np.ascontiguousarray(chunk).data)
    digest.update(checked.labels.astype("<i8").data)
    if checked.targets is not None:
        digest.update(np.ascontiguousarray(checked.targets.astype("<f4")).data)
    if checked.official is not None:
        digest.update("\n".join(checked.official.tolist()).encode())
    if checked.groups is not None:
        digest.update(checked.groups.astype("<i8").data)
    if checked.parts is not None:
        digest.update(checked.parts.astype("<i8").data)
    return digest.hexdigest()


def _canonical(array: NDArray[Any]) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<")
