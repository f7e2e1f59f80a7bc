"""What a split must not share with another: groups, wholes of parts, exact copies, and near ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.data import Data
from kdbench.engine.datasets import Dataset

Positions = NDArray[np.int64]
Similarity = Callable[[Positions, Positions], NDArray[Any]]
"""Of items by their positions in the raw data, (n,) and (m,): how alike each pair is, (n, m)."""

_ROWS = 256


def leaks(data: Data, dataset: Dataset, similarity: Similarity | None = None, threshold: float = 1.0) -> Iterator[str]:
    """One sentence for each leak between two splits, found in the raw data itself: the first of its kind for a pair.

    Args:
        data, dataset: the raw data, and what kdbench made of it.
        similarity: of near copies, where there is a measure of it.
        threshold: pairs in different splits that are at least so alike are near copies.
    """
    index = {part: getattr(dataset, part).index.numpy() for part in ("train", "validation", "test")}
    for one, other in combinations(index, 2):
        a, b = index[one], index[other]
        wholes = None if data.parts is None else np.asarray(data.parts)[:, 0]
        for what, numbers in (("group", data.groups), ("whole", wholes)):
            if numbers is not None and len(shared := np.intersect1d(np.asarray(numbers)[a], np.asarray(numbers)[b])):
                yield f"{what} {shared[0]!r} is in both the {one} and the {other} split"
        if pair := _same(data, a, b):
            yield f"item {pair[0]} of the {one} split and item {pair[1]} of the {other} split are copies of each other"
        if similarity is not None:
            yield from _alike(similarity, threshold, one, other, a, b)


def _same(data: Data, a: Positions, b: Positions) -> tuple[int, int] | None:
    """The first items of both that are equal in every view."""
    views = [np.asarray(array) for array in data.views().values()]

    def content(item: int) -> bytes:
        return b"".join(np.ascontiguousarray(view[item] + view.dtype.type(0)).tobytes() for view in views)

    seen = {content(item): item for item in a.tolist()}
    return next(((seen[found], item) for item in b.tolist() if (found := content(item)) in seen), None)


def _alike(similarity: Similarity, threshold: float, one: str, other: str, a: Positions, b: Positions) -> Iterator[str]:
    """The most alike pair of two splits, where it is alike enough, and how many such pairs there are."""
    count, most, pair = 0, -np.inf, (0, 0)
    for start in range(0, len(b), _ROWS):
        rows = b[start : start + _ROWS]
        found = np.asarray(similarity(rows, a))
        if found.shape != (len(rows), len(a)):
            raise AssertionError(f"similarity gave shape {found.shape} for {len(rows)} and {len(a)} items")
        count += int((found >= threshold).sum())
        if found.max() > most:
            row, column = np.unravel_index(found.argmax(), found.shape)
            most, pair = float(found.max()), (int(a[column]), int(rows[row]))
    if count:
        yield (
            f"{count} pairs of the {one} and the {other} split are near copies (similarity {threshold} or more): "
            f"items {pair[0]} and {pair[1]} have {most:.3f}; give them one group"
        )
