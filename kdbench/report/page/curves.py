"""Points of a run's ROC, precision-recall and reliability curves, as few as show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.statistics import auc_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 60
CLASSES = 10
"""Curves are of at most so many classes, those with the most items."""
BINS = 15


def one_vs_rest(probabilities: NDArray[Any], labels: NDArray[Any]) -> list[dict[str, Any]]:
    """ROC and precision-recall points of each class against the rest: of class 1 alone where there are two.

    Args:
        probabilities: (N, C).
        labels: (N,) classes, or (N, C) of 0 and 1.

    Returns: class, positives, auc with low and high (95%, DeLong), ap, and the points fpr, tpr, recall, precision.
    """
    classes = probabilities.shape[1]
    truths = labels if labels.ndim == 2 else labels[:, None] == np.arange(classes)
    sizes = truths.sum(axis=0)
    chosen = [1] if classes == 2 and labels.ndim == 1 else sorted(np.argsort(-sizes, kind="stable")[:CLASSES].tolist())
    found = []
    for index in chosen:
        scores, positive = probabilities[:, index].astype(np.float64), truths[:, index].astype(bool)
        area = auc_interval(scores, positive)
        if area is None:
            continue
        false, true = _counts(scores, positive)
        precision = np.append(1.0, true[1:] / (true[1:] + false[1:]))
        recall = true / true[-1]
        found.append({
            "class": index, "positives": int(sizes[index]), "auc": area.value, "low": area.low, "high": area.high,
            "ap": float(np.diff(recall) @ precision[1:]),
            **_thinned("fpr", false / false[-1], "tpr", recall), **_thinned("recall", recall, "precision", precision),
        })  # fmt: skip
    return found


def reliability(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, list[float]]:
    """Items, mean confidence and accuracy of each of 15 bins of confidence that has any (Guo et al., 2017).

    Args: probabilities: (N, C). labels: (N,).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    items = np.bincount(bins, minlength=BINS)
    some = items > 0
    sums = [np.bincount(bins, weights=values, minlength=BINS)[some] / items[some] for values in (confidence, right)]
    return {
        "bin": np.flatnonzero(some).tolist(), "items": items[some].tolist(), "confidence": _short(sums[0]),
        "accuracy": _short(sums[1]),
    }  # fmt: skip


def _counts(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """False and true positives above each distinct score, from none to all."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.cumsum(positive[order])[last]
    return np.append(0, last + 1 - true), np.append(0, true)


def _thinned(x_name: str, x: NDArray[Any], y_name: str, y: NDArray[Any]) -> dict[str, list[float]]:
    """The points without those on a straight line between their neighbours, and then as many as `POINTS`."""
    steps = np.stack([np.diff(x), np.diff(y)])
    turns = np.flatnonzero(np.abs(steps[0][1:] * steps[1][:-1] - steps[0][:-1] * steps[1][1:]) > 1e-15) + 1
    kept = np.concatenate([[0], turns, [len(x) - 1]])
    if len(kept) > POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, POINTS).round().astype(int)]
    return {x_name: _short(x[kept]), y_name: _short(y[kept])}


def _short(values: NDArray[Any]) -> list[float]:
    rounded: list[float] = np.round(values, 4).tolist()
    return rounded
