"""Scores of answers that are spans of a text, token by token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import Diverged

Ends = NDArray[np.float64]


def best_spans(ends: Ends) -> NDArray[np.int64]:
    """The most probable span of each item, first and last token, (N, 2), from probabilities of both ends (N, 2, L).

    It maximises P(first) · P(last) over first ≤ last.
    """
    first, last = ends[:, 0], ends[:, 1]
    until = np.maximum.accumulate(first, axis=1)
    end = (until * last).argmax(axis=1)
    allowed = np.where(np.arange(first.shape[1]) <= end[:, None], first, -1.0)
    return np.stack([allowed.argmax(axis=1), end], axis=1)


def score_spans(ends: Ends, spans: NDArray[np.int64], teacher_ends: Ends | None = None) -> dict[str, float | None]:
    """Metrics of one split.

    `accuracy`: the best span is the right one. `span_f1`: the harmonic mean of precision and recall of its tokens'
    places, a mean over items. `log_loss`: −log of the probability of a right end, in nats, a mean over both ends.
    `agreement`: the best span is the teacher's.

    Args:
        ends: (N, 2, L), each row sums to 1.
        spans: first and last token, (N, 2).

    Raises: Diverged for a probability that is not finite.
    """
    if not np.isfinite(ends).all():
        item = int(np.flatnonzero(~np.isfinite(ends).all(axis=(1, 2)))[0])
        raise Diverged("the student's answers are not finite", f"item {item} of the split is the first", "lower the lr")
    found = best_spans(ends)
    shared = np.minimum(found[:, 1], spans[:, 1]) - np.maximum(found[:, 0], spans[:, 0]) + 1
    lengths = (found[:, 1] - found[:, 0] + 1) + (spans[:, 1] - spans[:, 0] + 1)
    own = np.take_along_axis(ends, spans[:, :, None], axis=2)
    scores: dict[str, float | None] = {
        "accuracy": float((found == spans).all(axis=1).mean()),
        "span_f1": float((2 * np.maximum(shared, 0) / lengths).mean()),
        "log_loss": float(-np.log(np.maximum(own, np.finfo(np.float64).eps)).mean()),
    }
    if teacher_ends is not None:
        scores["agreement"] = float((found == best_spans(teacher_ends)).all(axis=1).mean())
    return scores
