"""The fixed split of a dataset: the same for every run, whatever its seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.data import SplitName
from kdbench.errors import InvalidData

Positions = NDArray[np.int64]
Split = dict[SplitName, Positions]

PARTS = 5
"""Without an official split: one part of five is test, one validation, three are train."""
VALIDATION_PARTS = 10
"""Validation is one part of ten of an official train split that comes without it."""
FOLD_VALIDATION_PARTS = 8
"""In cross-validation, validation is one part of eight of what is not in the fold's test part."""

_SEED = 20150309  # any constant: the split must never depend on a run's seed


def draw_split(
    name: str,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    official: NDArray[np.str_] | None,
    groups: NDArray[np.int64] | None,
) -> Split:
    """The official split where there is one, what it lacks drawn from its train items; else 60/20/20, stratified.

    Returns ascending positions, shape (items of the split,). Raises: InvalidData.
    """
    everything = np.arange(len(labels))
    if official is None:
        _check_classes(name, labels, classes, PARTS, f"a split of {PARTS - 2}:1:1")
        part = stratified_parts(labels, groups, PARTS)
        split: Split = {
            "train": everything[part > 1],
            "validation": everything[part == 1],
            "test": everything[part == 0],
        }
        return _checked(name, split, labels, classes, groups)
    split = {"train": everything[official == "train"]}
    wanted: tuple[tuple[SplitName, int], ...] = (("test", PARTS), ("validation", VALIDATION_PARTS))
    for missing, parts in wanted:
        split[missing] = everything[official == missing]
        if not len(split[missing]):
            train = split["train"]
            _check_classes(name, labels[train], classes, 2, f"a {missing} split drawn from the official train split")
            split["train"], split[missing] = _take(train, labels, groups, parts)
    return _checked(name, split, labels, classes, groups)


def draw_fold(
    name: str,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    official: NDArray[np.str_] | None,
    groups: NDArray[np.int64] | None,
    *,
    fold: int,
    folds: int,
) -> Split:
    """Fold `fold` of a stratified K-fold over everything that is not officially test.

    Its test split is the fold's part, its validation split a stratified eighth of the rest. Raises: InvalidData.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise InvalidData(
            f"dataset {name!r}: there is no fold {fold} of {folds}",
            "cross-validation needs at least 2 folds, counted from 0",
            "kdbench run --folds 5",
        )
    pool = np.arange(len(labels)) if official is None else np.flatnonzero(official != "test")
    least = folds if folds > 2 else 4  # one for test, one for validation, one for train, however the parts fall
    _check_classes(name, labels[pool], classes, least, f"{folds} folds with validation")
    if groups is not None and len(np.unique(groups[pool])) < folds:
        raise InvalidData(
            f"dataset {name!r}: {len(np.unique(groups[pool]))} groups cannot fill {folds} folds",
            "a group never crosses splits",
            "ask for fewer folds",
        )
    part = stratified_parts(labels[pool], None if groups is None else groups[pool], folds)
    train, validation = _take(pool[part != fold], labels, groups, FOLD_VALIDATION_PARTS)
    split: Split = {"train": train, "validation": validation, "test": pool[part == fold]}
    return _checked(name, split, labels, classes, groups)


def stratified_parts(labels: NDArray[Any], groups: NDArray[Any] | None, parts: int) -> NDArray[np.int64]:
    """A part in [0, parts) for each item, shape (N,); the same at every call.

    Without groups, the sizes of any two parts differ by one item at most, and so do their counts of any class. With
    groups, a group is in one part, and the counts are as even as scikit-learn's StratifiedGroupKFold makes them.
    """
    if groups is not None:
        return _grouped_parts(labels, groups, parts)
    # RandomState's streams are frozen for good; those of numpy's newer generators may change with its version.
    shuffled = np.random.RandomState(_SEED).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    part = np.empty(len(labels), dtype=np.int64)
    part[by_class] = np.arange(len(labels)) % parts
    return part


def _grouped_parts(labels: NDArray[Any], groups: NDArray[Any], parts: int) -> NDArray[np.int64]:
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    # The splitter refuses more parts than there are groups, or than a class has items; an empty split is told later.
    parts = min(parts, int(np.bincount(labels).max()), len(np.unique(groups)))
    if parts < 2:
        return np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=_SEED)
    part = np.empty(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class rarer than the parts; classes are checked here
        for number, (_, held) in enumerate(splitter.split(labels, labels, groups)):
            part[held] = number
    return part


def _take(
    pool: Positions, labels: NDArray[np.int64], groups: NDArray[np.int64] | None, parts: int
) -> tuple[Positions, Positions]:
    """A stratified 1/parts of the pool, and what is left: (left, taken); at least one item is taken."""
    # Part 0 is what is taken: the first item of the shuffled order is in it, so that it is never empty.
    part = stratified_parts(labels[pool], None if groups is None else groups[pool], parts)
    return pool[part != 0], pool[part == 0]


def _check_classes(name: str, labels: NDArray[np.int64], classes: tuple[str, ...], least: int, purpose: str) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    rarest = int(counts.argmin())
    if counts[rarest] < least:
        raise InvalidData(
            f"dataset {name!r}: class {classes[rarest]!r} has {counts[rarest]} items",
            f"{purpose} needs at least {least} of every class, duplicates not counted",
            "drop or merge the class, or ask for fewer folds",
        )


def _checked(
    name: str,
    split: Split,
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    groups: NDArray[np.int64] | None,
) -> Split:
    for part, positions in split.items():
        if not len(positions):
            raise InvalidData(
                f"dataset {name!r}: its {part} split is empty",
                "no item is left for it" if groups is None else "too few groups: a group never crosses splits",
                "give more items, or an official split with items in every part",
            )
    absent = np.flatnonzero(np.bincount(labels[split["train"]], minlength=len(classes)) == 0)
    if len(absent):
        raise InvalidData(
            f"dataset {name!r}: its train split has no item of class {classes[absent[0]]!r}",
            "" if groups is None else "all of its items are in groups that fell into other splits",
            "drop the class, or give it items in train",
        )
    if groups is not None:
        _check_groups(name, split, groups)
    return split


def _check_groups(name: str, split: Split, groups: NDArray[np.int64]) -> None:
    seen: dict[int, SplitName] = {}
    for part, positions in split.items():
        for group in np.unique(groups[positions]).tolist():
            if seen.setdefault(group, part) != part:
                item = int(positions[groups[positions] == group][0])
                raise InvalidData(
                    f"dataset {name!r}: a group is in both the {seen[group]} and the {part} split",
                    f"the group of item {item}, by its official split",
                    "correct the groups or the official split",
                )
