"""Items of many tokens: what their data must be, and which of their tokens count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kdbench.data import IGNORED_LABEL, Preprocess
from kdbench.errors import InvalidData


def scored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One row of logits and one label for each answer that counts.

    Args:
        logits: (N, C) with labels (N,), returned as they are; or (N, L, C) with labels (N, L), of which those that are
            not -100 are taken, item by item.

    Returns: (R, C) and (R,).
    """
    if labels.ndim == 1:
        return logits, labels
    counted = labels != IGNORED_LABEL
    return logits[counted], labels[counted]


def count_scored(labels: Tensor) -> int:
    """How many answers count."""
    return int((labels != IGNORED_LABEL).sum())


def check_tokens(
    name: str,
    views: Mapping[str, NDArray[Any]],
    preprocess: Mapping[str, Preprocess],
    values: object,
    classes: tuple[str, ...],
) -> NDArray[np.int64]:
    """The labels of a language-modeling dataset, (N, L), once checked together with its token indices.

    Raises: InvalidData, naming the dataset, the view and the first item at fault.
    """
    labels: NDArray[Any] = np.asarray(values)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InvalidData(
            f"dataset {name!r}: labels are not one integer per token",
            f"their dtype is {labels.dtype}, their shape {labels.shape}",
            f"give token indices of shape (items, length), {IGNORED_LABEL} where nothing is asked",
        )
    _check_indices(f"dataset {name!r}: a label", labels, len(classes), ignored=True)
    silent = np.flatnonzero((labels == IGNORED_LABEL).all(axis=1))
    if len(silent):
        raise InvalidData(
            f"dataset {name!r}: an item asks for no token", f"all labels of item {silent[0]} are {IGNORED_LABEL}",
            "drop it",
        )  # fmt: skip
    for view, array in views.items():
        where = f"dataset {name!r}, view {view!r}"
        if (
            array.dtype.kind not in "iu"
            or array.ndim != 2
            or (len(array) == len(labels) and array.shape != labels.shape)
        ):
            raise InvalidData(
                f"{where} does not hold one token index per label",
                f"its dtype is {array.dtype}, its shape {array.shape}; the labels' is {labels.shape}",
                "give integers of shape (items, length)",
            )
        if preprocess[view] != "none":
            raise InvalidData(
                f"{where} would be preprocessed with {preprocess[view]!r}", "token indices are names, not amounts",
                'give preprocess="none"',
            )  # fmt: skip
        _check_indices(f"{where}: a token", array, len(classes), ignored=False)
    return labels.astype(np.int64)


def _check_indices(what: str, values: NDArray[Any], size: int, *, ignored: bool) -> None:
    outside = (values < 0) | (values >= size)
    if ignored:
        outside &= values != IGNORED_LABEL
    if outside.any():
        item, place = np.argwhere(outside)[0]
        raise InvalidData(
            f"{what} is outside the vocabulary of {size}",
            f"item {item} has {values[item, place]} at place {place}",
            f"indices go from 0 to {size - 1}",
        )
