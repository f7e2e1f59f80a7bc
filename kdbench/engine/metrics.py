"""Scores of predicted class probabilities, equal to scikit-learn's (whose one-vs-rest loops are slow)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import Diverged

Probabilities = NDArray[np.float64]
Labels = NDArray[np.int64]


CALIBRATION_BINS = 15
TOP = 5


def score(
    probabilities: Probabilities, labels: Labels, *, teacher_probabilities: Probabilities | None = None
) -> dict[str, float | None]:
    """Every metric of one split, by the names of kdbench.metric_info.

    A prediction is the most probable class, the first one of equals. Precision, recall and F1 are 0 where their
    denominator is; macro averages are over the classes in the labels or the predictions, balanced accuracy over those
    in the labels. ROC AUC and average precision are of class 1 where there are two classes; with more they are
    averages, one class against the rest, over the classes that have both positive and negative items (None: no class
    has). Log-loss is in nats, with probabilities clipped to [ε, 1−ε] of float64. ECE has 15 bins of equal width (Guo et
    al., 2017, eq. 3). Brier is the sum of squared differences over classes, averaged over items (Brier, 1950); of two
    classes it is that of class 1 alone, half the sum. Agreement is the share of items whose predicted class is also the
    teacher's.

    Args:
        probabilities: (N, C), N ≥ 1, rows sum to 1.
        labels: (N,), in [0, C).
        teacher_probabilities: (N, C).

    Raises: Diverged for a probability that is not finite.
    """
    check_finite(probabilities)
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    counts = np.array(confusion(probabilities, labels, num_classes))
    scores: dict[str, float | None] = {"accuracy": float((predicted == labels).mean())}
    if num_classes > TOP:
        scores["top5_accuracy"] = _top_accuracy(probabilities, labels, TOP)
    scores |= _from_confusion(counts)
    scores |= _ranking(probabilities, labels)
    scores["log_loss"] = log_loss(probabilities, labels)
    scores["ece"] = _calibration_error(probabilities, predicted == labels)
    scores["brier"] = _brier(probabilities, labels)
    if teacher_probabilities is not None:
        scores["agreement"] = float((predicted == teacher_probabilities.argmax(axis=1)).mean())
    return scores


def score_tokens(
    probabilities: Probabilities, labels: Labels, *, teacher_probabilities: Probabilities | None = None
) -> dict[str, float | None]:
    """The metrics of `score` that weigh every token alike, and perplexity = e^(log-loss).

    Args, Raises: as for `score`; a row is a token, a column one of the vocabulary.
    """
    check_finite(probabilities)
    right = probabilities.argmax(axis=1) == labels
    scores: dict[str, float | None] = {"accuracy": float(right.mean())}
    if probabilities.shape[1] > TOP:
        scores["top5_accuracy"] = _top_accuracy(probabilities, labels, TOP)
    nats = log_loss(probabilities, labels)
    scores |= {"log_loss": nats, "perplexity": float(np.exp(nats))}
    scores["ece"] = _calibration_error(probabilities, right)
    if teacher_probabilities is not None:
        scores["agreement"] = float((probabilities.argmax(axis=1) == teacher_probabilities.argmax(axis=1)).mean())
    return scores


def token_predictions(probabilities: Probabilities, labels: Labels) -> dict[str, NDArray[Any]]:
    """What is kept of the answers to many tokens: the predicted one, and the probability of the right one."""
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return {"predicted": probabilities.argmax(axis=1), "label_probabilities": own.astype(np.float32)}


def check_finite(probabilities: Probabilities) -> None:
    """Raise Diverged, naming the first item, where a student's answers are not finite."""
    if not np.isfinite(probabilities).all():
        item = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise Diverged("the student's answers are not finite", f"item {item} of the split is the first", "lower the lr")


def confusion(probabilities: Probabilities, labels: Labels, num_classes: int) -> list[list[int]]:
    """Items by true class (row) and predicted class (column)."""
    cells = np.bincount(labels * num_classes + probabilities.argmax(axis=1), minlength=num_classes**2)
    table: list[list[int]] = cells.reshape(num_classes, num_classes).tolist()
    return table


def roc_points(
    probabilities: Probabilities, labels: Labels, class_index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve of one class against the rest: false and true positive rates, and the thresholds they hold from.

    Begins at (0, 0) with threshold infinity. Points on the straight line between their neighbours are left out. A rate
    is NaN where no item could be counted in it.
    """
    false, true, thresholds = counts_by_threshold(probabilities[:, class_index], labels == class_index)
    if len(false) > 2:
        bends = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.concatenate(([True], bends, [True]))
        false, true, thresholds = false[kept], true[kept], thresholds[kept]
    false, true = np.concatenate(([0], false)), np.concatenate(([0], true))
    with np.errstate(invalid="ignore"):
        return false / float(false[-1]), true / float(true[-1]), np.concatenate(([np.inf], thresholds))


def _top_accuracy(probabilities: Probabilities, labels: Labels, top: int) -> float:
    """Of equally probable classes the later one goes first, as in scikit-learn."""
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    later = np.arange(probabilities.shape[1]) > labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & later)
    return float((ahead.sum(axis=1) < top).mean())


def _from_confusion(counts: NDArray[Any]) -> dict[str, float]:
    right, true, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    seen = (true + predicted) > 0
    weights = true / true.sum()
    recall = ratio(right, true)
    by_class = {
        "precision": ratio(right, predicted),
        "recall": recall,
        "f1": ratio(2 * right, true + predicted),
    }
    micro = float(right.sum() / true.sum())  # one label an item: all three are the accuracy
    scores = {"balanced_accuracy": float(recall[true > 0].mean())}
    for name, values in by_class.items():
        scores[f"{name}_macro"] = float(values[seen].mean())
        scores[f"{name}_micro"] = micro
        scores[f"{name}_weighted"] = float(values @ weights)
    return scores


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """The share, 0 where the whole is."""
    ratios: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return ratios


def _ranking(probabilities: Probabilities, labels: Labels) -> dict[str, float | None]:
    num_classes = probabilities.shape[1]
    classes = [1] if num_classes == 2 else range(num_classes)
    each = [area_and_precision(probabilities[:, index], labels == index) for index in classes]
    known = [pair for pair in each if pair is not None]
    if not known:
        return {"roc_auc": None, "average_precision": None}
    area, precision = np.mean(known, axis=0).tolist()
    return {"roc_auc": area, "average_precision": precision}


def area_and_precision(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Area under the ROC curve and average precision; None without both positive and negative items."""
    false, true, _ = counts_by_threshold(values, positive)
    if not false[-1] or not true[-1]:
        return None
    area = np.trapezoid(np.append(0, true), np.append(0, false)) / (true[-1] * false[-1])
    return float(area), float(np.diff(np.append(0, true)) @ (true / (true + false)) / true[-1])


def counts_by_threshold(
    values: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """False and true positives at each distinct value, from the highest down: equal values fall together."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    true = np.cumsum(positive[order])[last]
    return last + 1 - true, true, ordered[last]


def log_loss(probabilities: Probabilities, labels: Labels) -> float:
    """Mean negative log-probability of the label, in nats, clipped as `score` says."""
    epsilon = np.finfo(np.float64).eps
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    return float(-np.log(np.clip(own, epsilon, 1 - epsilon)).mean())


def _calibration_error(probabilities: Probabilities, right: NDArray[np.bool_]) -> float:
    confidence = probabilities.max(axis=1)
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(right))


def _brier(probabilities: Probabilities, labels: Labels) -> float:
    errors = probabilities.copy()
    errors[np.arange(len(labels)), labels] -= 1
    total = float(np.square(errors).sum() / len(labels))
    return total / 2 if probabilities.shape[1] == 2 else total
