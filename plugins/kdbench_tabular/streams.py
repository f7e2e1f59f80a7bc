"""Streams that drift: real items in an order, and a drift that is made and stated. Split by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import kdbench
from kdbench_data.bundled import digits
from kdbench_tabular.tables import letter_recognition

if TYPE_CHECKING:
    from numpy.typing import NDArray

TURN = 60.0
"""Degrees between the first digit and the last."""
SHIFT = 1.5
"""Standard deviations by which a column has moved at the end, up or down."""
TRAIN, VALIDATION = 0.6, 0.15


def digits_drift() -> kdbench.Data:
    """The digits in UCI's order, number i of N turned by 60·i/(N−1) degrees, (1797, 1, 8, 8).

    The first 60% are train, the next 15% validation, the rest test: a model learns from digits turned by up to 36
    degrees and is asked about 45 to 60. In that order a writer's digits are near each other, so that the writers change
    too.
    """
    from scipy.ndimage import rotate

    still = digits()
    images = still.views()["input"]
    turned = [
        rotate(image, angle, axes=(-2, -1), reshape=False, order=1)
        for image, angle in zip(images, TURN * clock(len(images)), strict=True)
    ]
    return kdbench.Data(
        np.stack(turned).astype(np.float32),
        still.labels,
        still.classes,
        split=by_time(len(images)),
        preprocess="image",
        source=f"{still.source}; the drift is kdbench's",
        licence=still.licence,
    )


def letter_drift() -> kdbench.Data:
    """The letters in UCI's order; column j of item i has moved by ±1.5·i/(N−1) of its deviations, (18668, 16).

    Even columns move up and odd ones down. The first 60% are train, the next 15% validation, the rest test. Of letters
    with the same 16 numbers the first is kept: moved apart, its copies would be in several splits.
    """
    still = letter_recognition()
    _, first = np.unique(still.views()["input"], axis=0, return_index=True)
    columns, labels = (array[np.sort(first)] for array in (still.views()["input"], still.labels))
    way = np.where(np.arange(columns.shape[1]) % 2 == 0, 1.0, -1.0)
    moved = columns + SHIFT * columns.std(0) * way * clock(len(columns))[:, None]
    return kdbench.Data(
        moved,
        labels,
        still.classes,
        split=by_time(len(columns)),
        source=f"{still.source}; the drift is kdbench's",
        licence=still.licence,
    )


def clock(items: int) -> NDArray[np.float64]:
    """When each item comes, evenly from 0 to 1."""
    return np.linspace(0, 1, items)


def by_time(items: int) -> NDArray[np.str_]:
    """The split of each item: early is train, late is test."""
    ends = [round(TRAIN * items), round((TRAIN + VALIDATION) * items)]
    return np.array(["train", "validation", "test"])[np.searchsorted(ends, np.arange(items), side="right")]
