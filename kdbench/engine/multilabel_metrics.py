"""Scores of predicted probabilities of labels that do not exclude each other, equal to scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.engine import metrics

THRESHOLD = 0.5


def score_labels(
    probabilities: NDArray[np.float64],
    labels: NDArray[Any],
    *,
    teacher_probabilities: NDArray[np.float64] | None = None,
) -> dict[str, float | None]:
    """Every metric of one split, by the names of kdbench.metric_info.

    A label is predicted above probability ½. Accuracy is the share of right (item, label) pairs (1 − Hamming loss),
    subset accuracy that of items whose labels are all right. Macro averages are over labels, 0 where a label's
    denominator is; micro averages over all pairs together. ROC AUC and average precision are means over the labels that
    have both positive and negative items (None: no label has). Log-loss is the mean over all pairs, in nats. Agreement
    is the share of pairs that are predicted as the teacher does.

    Args:
        probabilities: (N, C), N ≥ 1.
        labels: (N, C) of 0 and 1.
        teacher_probabilities: (N, C).

    Raises: Diverged for a probability that is not finite.
    """
    metrics.check_finite(probabilities)
    predicted, true = probabilities > THRESHOLD, labels > THRESHOLD
    scores: dict[str, float | None] = {
        "accuracy": float((predicted == true).mean()),
        "subset_accuracy": float((predicted == true).all(axis=1).mean()),
    }
    hits, said, there = ((predicted & true).sum(0), predicted.sum(0), true.sum(0))
    for name, part, whole in (("precision", hits, said), ("recall", hits, there), ("f1", 2 * hits, said + there)):
        scores[f"{name}_macro"] = float(metrics.ratio(part, whole).mean())
        scores[f"{name}_micro"] = float(metrics.ratio(part.sum(keepdims=True), whole.sum(keepdims=True))[0])
    pairs = [metrics.area_and_precision(p, t) for p, t in zip(probabilities.T, true.T, strict=True)]
    known = [pair for pair in pairs if pair is not None]
    for position, name in enumerate(("roc_auc", "average_precision")):
        scores[name] = float(np.mean([pair[position] for pair in known])) if known else None
    both = np.stack([1 - probabilities, probabilities], axis=-1).reshape(-1, 2)
    scores["log_loss"] = metrics.log_loss(both, true.ravel().astype(np.int64))
    if teacher_probabilities is not None:
        scores["agreement"] = float((predicted == (teacher_probabilities > THRESHOLD)).mean())
    return scores
