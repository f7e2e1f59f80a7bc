"""A plugin's raw data checked, and its exact duplicates removed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from kdbench.data import Data, Preprocess, SplitName, Task
from kdbench.engine.once import once
from kdbench.engine.tasks import KINDS, kind_of
from kdbench.errors import InvalidData
from kdbench.preparation import Preparation

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
_LEAST_CLASSES: dict[Task, int] = {"multilabel": 1, "retrieval": 0}
_CHUNK_BYTES = 1 << 24
_DIGEST_BYTES = 16


@dataclass(frozen=True, eq=False)
class Checked:
    """Raw data that can be trained on.

    `kept` are the positions in the raw data of the items that are no duplicates, ascending; `labels`, `targets`,
    `official`, `groups` and `parts` are theirs alone, `views` still hold every item.
    """

    views: Mapping[str, NDArray[Any]]
    preprocess: Mapping[str, Preprocess]
    channels: tuple[tuple[float, ...], tuple[float, ...]] | None
    kept: NDArray[np.int64]
    labels: NDArray[Any]
    classes: tuple[str, ...]
    task: Task
    targets: NDArray[Any] | None
    official: NDArray[np.str_] | None
    groups: NDArray[np.int64] | None
    parts: NDArray[np.int64] | None

    @property
    def strata(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """What the split keeps in proportion, with its names: classes, or nothing where an item is many tokens."""
        return kind_of(self.task).strata(self.labels, self.classes)

    @property
    def removed(self) -> int:
        """Items left out: copies of another item, and items that are labelled in two ways."""
        return len(next(iter(self.views.values()))) - len(self.kept)


def check_and_clean(name: str, data: object) -> Checked:
    """Check everything that does not depend on the split, then remove duplicates.

    Raises: InvalidData, naming the dataset, the view and the first item or column at fault.
    """
    if not isinstance(data, Data):
        raise InvalidData(
            f"dataset {name!r} gave {type(data).__name__}, not kdbench.Data",
            fix="return kdbench.Data(inputs, labels, classes) from its factory",
        )
    classes = _classes(name, data)
    views = {view: _view(name, view, array) for view, array in data.views().items()}
    if not views:
        raise InvalidData(f"dataset {name!r} has no inputs", "inputs is an empty mapping", "give at least one view")
    preprocess = _preprocess(name, data, views)
    labels = kind_of(data.task).check_labels(name, data, views, preprocess, classes)
    for view, array in views.items():
        _check_length(name, f"view {view!r}", len(array), len(labels))
    targets = _targets(name, data, len(labels))
    official = _official(name, data.split, len(labels))
    parts = _parts(name, data, len(labels))
    wholes = np.arange(len(labels)) if parts is None else parts[:, 0]
    groups = _groups(name, wholes if data.groups is None and parts is not None else data.groups, len(labels))
    if parts is not None:
        _check_wholes(name, wholes, official, groups)
    digests = once(name, views, "digests", list, lambda: _digests(name, views))
    kept = _without_duplicates(digests, labels, official, wholes)
    return Checked(
        views=views,
        preprocess=preprocess,
        channels=_channels(name, data, views, preprocess),
        kept=kept,
        labels=labels[kept],
        classes=classes,
        task=data.task,
        targets=None if targets is None else targets[kept],
        official=None if official is None else official[kept],
        groups=None if groups is None else groups[kept],
        parts=None if parts is None else parts[kept],
    )


def _classes(name: str, data: Data) -> tuple[str, ...]:
    classes = tuple(map(str, data.classes))
    if data.task not in KINDS:
        raise InvalidData(
            f"dataset {name!r} has task {data.task!r}", f"its items can be {' or '.join(KINDS)}", "change Data.task"
        )
    if len(classes) < _LEAST_CLASSES.get(data.task, 2):
        raise InvalidData(
            f"dataset {name!r} declares {len(classes)} class{'' if len(classes) == 1 else 'es'}",
            "at least one is needed" if data.task == "multilabel" else "classification needs at least two",
            "name every class in Data.classes",
        )
    if data.task == "binary" and len(classes) != 2:
        raise InvalidData(
            f"dataset {name!r} is binary but declares {len(classes)} classes", fix='give it task="multiclass"'
        )
    if len(set(classes)) != len(classes):
        twice = next(one for one in classes if classes.count(one) > 1)
        raise InvalidData(f"dataset {name!r} declares class {twice!r} twice", fix="give every class a name of its own")
    return classes


def _view(name: str, view: str, values: object) -> NDArray[Any]:
    array: NDArray[Any] = values if isinstance(values, np.memmap) else np.asarray(values)
    where = f"dataset {name!r}, view {view!r}"
    if array.dtype.kind not in "biuf":
        raise InvalidData(
            f"{where} is not numeric", f"its dtype is {array.dtype}", "encode its columns as numbers, one array a view"
        )
    if array.ndim < 2 or not array.size:
        raise InvalidData(
            f"{where} is empty" if not array.size else f"{where} has no columns",
            f"its shape is {array.shape}",
            "give an array of shape (items, ...); a single column is (items, 1)",
        )
    if array.dtype.kind == "f":
        _check_finite(where, array)
    return array


def _check_finite(where: str, array: NDArray[Any]) -> None:
    for start in _starts(array):
        chunk = array[start : start + _rows(array)]
        finite = np.isfinite(chunk)
        if not finite.all():
            item, *place = np.argwhere(~finite)[0]
            column = place[0] if len(place) == 1 else tuple(map(int, place))
            raise InvalidData(
                f"{where} has a value that is not finite",
                f"item {start + item}, column {column} is {chunk[(item, *place)]}",
                "impute it or drop the item",
            )


def _preprocess(name: str, data: Data, views: Mapping[str, NDArray[Any]]) -> dict[str, Preprocess]:
    known = get_args(Preprocess)
    chosen: dict[str, Preprocess] = {}
    for view, array in views.items():
        if isinstance(data.preprocess, Mapping) and view not in data.preprocess:
            raise InvalidData(
                f"dataset {name!r} says nothing of how to preprocess view {view!r}",
                fix=f"add it to Data.preprocess: {', '.join(known)}",
            )
        how = data.preprocess_of(view)
        if how not in known:
            raise InvalidData(
                f"dataset {name!r}, view {view!r}: unknown preprocessing {how!r}", fix=f"known: {', '.join(known)}"
            )
        if how == "image" and array.ndim not in {3, 4}:
            raise InvalidData(
                f"dataset {name!r}, view {view!r} does not hold images",
                f"its shape is {array.shape}",
                'give (N, H, W) or (N, C, H, W), or preprocess="standardize"',
            )
        chosen[view] = how
    return chosen


def _channels(
    name: str, data: Data, views: Mapping[str, NDArray[Any]], preprocess: Mapping[str, Preprocess]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if data.channels is None:
        return None
    try:
        means, deviations = (tuple(map(float, values)) for values in data.channels)
    except (TypeError, ValueError) as error:
        raise InvalidData(
            f"dataset {name!r}: Data.channels is not two lists of numbers",
            str(error),
            "give the means of its channels and their deviations",
        ) from error
    found = {view: 1 if array.ndim == 3 else array.shape[1] for view, array in views.items()
             if preprocess[view] == "image"}  # fmt: skip
    if len(means) != len(deviations) or set(found.values()) != {len(means)}:
        raise InvalidData(
            f"dataset {name!r} gives {len(means)} means and {len(deviations)} deviations of its channels",
            "; ".join(f"view {view!r} has {count} channels" for view, count in found.items()) or "it has no images",
            "give one of each for every channel, or leave Data.channels out",
        )
    if not (np.isfinite(means).all() and np.isfinite(deviations).all() and min(deviations) > 0):
        raise InvalidData(
            f"dataset {name!r}: its channels cannot be standardised",
            f"means {means}, deviations {deviations}",
            "give finite means, and deviations above 0",
        )
    return means, deviations


def _targets(name: str, data: Data, items: int) -> NDArray[Any] | None:
    if data.targets is None:
        return None
    if data.task != "retrieval":
        raise InvalidData(f"dataset {name!r} has targets, and is not of retrieval", f"its task is {data.task!r}")
    targets: NDArray[Any] = np.asarray(data.targets)
    where = f"dataset {name!r}, targets"
    if targets.ndim != 2 or targets.dtype.kind != "f" or not targets.size:
        raise InvalidData(
            f"{where}: not one embedding per item",
            f"their dtype is {targets.dtype}, their shape {targets.shape}",
            "give floats of shape (items, size of the embedding)",
        )
    _check_length(name, "targets", len(targets), items)
    _check_finite(where, targets)
    return targets.astype(np.float32)


def _official(name: str, values: object, items: int) -> NDArray[np.str_] | None:
    if values is None:
        return None
    official = np.asarray(values).astype(str)
    _check_length(name, "the official split", len(official), items)
    unknown = np.flatnonzero(~np.isin(official, SPLITS))
    if len(unknown):
        raise InvalidData(
            f"dataset {name!r}: unknown official split {str(official[unknown[0]])!r}",
            f"item {unknown[0]} has it",
            f"use {', '.join(SPLITS)}",
        )
    return official


def _groups(name: str, values: object, items: int) -> NDArray[np.int64] | None:
    if values is None:
        return None
    _check_length(name, "groups", len(np.asarray(values)), items)
    return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)


def _parts(name: str, data: Data, items: int) -> NDArray[np.int64] | None:
    """The whole of each item, counted from 0, and where in it the item begins; the task has checked them."""
    if data.parts is None:
        return None
    if data.task != "span-qa":
        raise InvalidData(
            f"dataset {name!r} has parts, and is not of spans", f"its task, {data.task!r}, scores every item by itself"
        )
    parts: NDArray[Any] = np.asarray(data.parts)
    _check_length(name, "parts", len(parts), items)
    return np.stack([np.unique(parts[:, 0], return_inverse=True)[1], parts[:, 1]], axis=1).astype(np.int64)


def _check_wholes(
    name: str, wholes: NDArray[np.int64], official: NDArray[np.str_] | None, groups: NDArray[np.int64] | None
) -> None:
    """Raise InvalidData where parts of one whole are of two official splits or of two groups."""
    first = np.unique(wholes, return_index=True)[1][wholes]
    for what, values in (("official splits", official), ("groups", groups)):
        apart = [] if values is None else np.flatnonzero(values[first] != values).tolist()
        if apart:
            raise InvalidData(
                f"dataset {name!r}: parts of one whole are of two {what}",
                f"items {first[apart[0]]} and {apart[0]} are of one whole",
                "give all parts of a whole the same",
            )


def _check_length(name: str, what: str, length: int, items: int) -> None:
    if length != items:
        raise InvalidData(
            f"dataset {name!r}: {what} and labels differ in length",
            f"{what} has {length} items, labels {items}",
            "give every array one entry per item, in the same order",
        )


def _without_duplicates(
    digests: NDArray[np.uint8], labels: NDArray[Any], official: NDArray[np.str_] | None, wholes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Positions of the items to keep: one of each set of equal items, none of a set whose labels differ.

    Of equal items an officially assigned test item is kept first, then one of validation: published test sets stay
    whole, and training is what loses its copies. A whole stays, or goes with all its parts (`wholes`, (N,), the number
    of each item's) for one that another whole has too; within it equal parts may be.
    """
    first: dict[bytes, int] = {}
    numbers = wholes.tolist()
    dropped: set[int] = set()
    conflicting: set[int] = set()
    rank = None if official is None else np.array([SPLITS.index(one) for one in SPLITS])[_codes(official)]
    content = digests.tobytes()
    for item in range(len(digests)):
        digest = content[item * _DIGEST_BYTES : (item + 1) * _DIGEST_BYTES]
        other = first.setdefault(digest, item)
        whole, another = numbers[item], numbers[other]
        if whole == another:
            continue
        if not np.array_equal(labels[other], labels[item]) or another in conflicting:
            conflicting |= {another, whole}
        elif rank is not None and rank[item] > rank[other]:
            first[digest] = item
            dropped.add(another)
        else:
            dropped.add(whole)
    gone = np.fromiter(dropped | conflicting, dtype=np.int64)
    return np.flatnonzero(~np.isin(wholes, gone))


def _codes(official: NDArray[np.str_]) -> NDArray[np.int64]:
    codes = np.zeros(len(official), dtype=np.int64)
    for code, split in enumerate(SPLITS):
        codes[official == split] = code
    return codes


def _digests(name: str, views: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """A 128-bit hash of each item over all views, (N, 16); equal numbers have equal hashes (0.0 and -0.0 too)."""
    items = len(next(iter(views.values())))
    step, found = min(map(_rows, views.values())), bytearray()
    progress = Preparation(f"{name}: search for copies", items)
    for start in range(0, items, step):
        parts = [_item_bytes(array[start : start + step]) for array in views.values()]
        for first, *others in zip(*parts, strict=True):
            digest = hashlib.blake2b(first, digest_size=_DIGEST_BYTES)
            for other in others:
                digest.update(other)
            found += digest.digest()
        progress.done(min(start + step, items))
    return np.frombuffer(found, dtype=np.uint8).reshape(items, _DIGEST_BYTES)


def _item_bytes(chunk: NDArray[Any]) -> list[memoryview]:
    rows = np.ascontiguousarray(chunk + 0.0 if chunk.dtype.kind == "f" else chunk).data.cast("B")
    size = len(rows) // len(chunk)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _rows(array: NDArray[Any]) -> int:
    return max(1, _CHUNK_BYTES // (array.nbytes // len(array)))


def _starts(array: NDArray[Any]) -> range:
    return range(0, len(array), _rows(array))
