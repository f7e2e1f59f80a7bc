"""Stated parts of Fashion-MNIST, and how parts of a dataset are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

import kdbench

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

SEED = 0
"""Of NumPy's legacy generator, whose stream is frozen: the same items on every machine and version."""


def fashion_mnist_6k() -> kdbench.Data:
    """Fashion-MNIST with 600 training items of each class, drawn once and for all, and the whole official test split.

    kdbench takes a tenth of them for validation. Raises: DataNotAvailable, InvalidData.
    """
    from kdbench_data.idx import fashion_mnist

    return drawn(fashion_mnist(), {"train": 600})


def fashion_mnist_1k() -> kdbench.Data:
    """Fashion-MNIST with 100 training and 100 validation items of each class, and the whole official test split.

    Both are drawn from the official training items, once and for all. Raises: DataNotAvailable, InvalidData.
    """
    from kdbench_data.idx import fashion_mnist

    return drawn(fashion_mnist(), {"train": 100, "validation": 100})


def drawn(data: kdbench.Data, counts: Mapping[str, int]) -> kdbench.Data:
    """The official test split whole, and of each class's official training items as many as `counts` says, by split.

    Raises: InvalidData where a class has fewer.
    """
    chosen = dict(zip(counts, _first(data, counts), strict=True))
    official = np.asarray(data.split)
    chosen["test"] = np.flatnonzero(official == "test")
    split = np.full(len(official), "", dtype="<U10")
    for name, items in chosen.items():
        split[items] = name
    kept = np.flatnonzero(split != "")
    views = {name: array[kept] for name, array in data.views().items()}
    return replace(data, inputs=views, labels=np.asarray(data.labels)[kept], split=split[kept])


def watched(name: str, data: kdbench.Data, of_each: int) -> kdbench.Data:
    """The data with so many training items of each class as its validation split.

    Raises: InvalidData where a class has fewer, or there is no official test split.
    """
    if data.split is None:
        raise kdbench.InvalidData(f"dataset {name!r} has no official test split", fix="fetch it again")
    _, items = _first(data, {"rest": 0, "validation": of_each})
    split = np.array(data.split, dtype="<U10")
    split[items] = "validation"
    return replace(data, split=split)


def _first(data: kdbench.Data, counts: Mapping[str, int]) -> list[Indices]:
    """Of each class's training items in a fixed random order: the first so many, the next so many, and so on."""
    labels, training = np.asarray(data.labels), np.asarray(data.split) == "train"
    parts: list[list[Indices]] = [[] for _ in counts]
    for label, name in enumerate(data.classes):
        items = np.random.RandomState(SEED).permutation(np.flatnonzero(training & (labels == label)))
        if len(items) < sum(counts.values()):
            raise kdbench.InvalidData(
                f"class {name!r} has {len(items)} training items",
                f"{sum(counts.values())} are to be drawn",
                "fetch it again",
            )
        start = 0
        for part, count in zip(parts, counts.values(), strict=True):
            part.append(items[start : start + count])
            start += count
    return [np.sort(np.concatenate(part)) for part in parts]
