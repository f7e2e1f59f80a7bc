"""Scores of answers that are spans of a text, token by token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import Diverged

Ends = NDArray[np.float64]
Spans = NDArray[np.int64]
Parts = NDArray[np.int64]
"""(N, 2): the whole that each item is a part of, and the place of its text where the part begins; `kdbench.Data`."""


def best_spans(ends: Ends) -> Spans:
    """The most probable span of each item, first and last token, (N, 2), from probabilities of both ends (N, 2, L).

    It maximises P(first) · P(last) over first ≤ last.
    """
    first, last = ends[:, 0], ends[:, 1]
    until = np.maximum.accumulate(first, axis=1)
    end = (until * last).argmax(axis=1)
    allowed = np.where(np.arange(first.shape[1]) <= end[:, None], first, -1.0)
    return np.stack([allowed.argmax(axis=1), end], axis=1)


def best_in_text(ends: Ends) -> tuple[Spans, NDArray[np.float64]]:
    """The best span of each part, as places of its text, (N, 2), and how probable the part makes it, (N,).

    Place 0 is no answer: what it takes of the probability, as a part without the answer should learn to do, makes a
    part's spans count less beside those of other parts.
    """
    found = best_spans(ends[:, :, 1:])
    chances = np.take_along_axis(ends[:, :, 1:], found[:, :, None], axis=2)[:, :, 0]
    return found, chances.prod(axis=1)


def answered(ends: Ends, parts: Parts | None = None) -> Spans:
    """What is answered: the best span of each item or, where items are parts, of each whole over all of its parts.

    Of parts the spans are places of the whole's text, wholes ascend by number, and the first of equally good parts
    counts.
    """
    if parts is None:
        return best_spans(ends)
    found, chances = best_in_text(ends)
    order = np.lexsort((-chances, parts[:, 0]))
    chosen = order[np.unique(parts[order, 0], return_index=True)[1]]
    return found[chosen] + parts[chosen, 1:]


def right_spans(spans: Spans, parts: Parts | None = None) -> Spans:
    """What is right, as `answered` gives what is answered; −1 for a whole none of whose parts holds the answer."""
    if parts is None:
        return spans
    wholes, whole = np.unique(parts[:, 0], return_inverse=True)
    right = np.full((len(wholes), 2), -1)
    holding = spans[:, 0] > 0
    right[whole[holding]] = (spans - 1 + parts[:, 1:])[holding]
    return right


def score_spans(
    ends: Ends, spans: Spans, teacher_ends: Ends | None = None, parts: Parts | None = None
) -> dict[str, float | None]:
    """Metrics of one split.

    `accuracy`: the best span is the right one. `span_f1`: the harmonic mean of precision and recall of its tokens'
    places, a mean over items. `log_loss`: −log of the probability of a right end, in nats, a mean over both ends.
    `agreement`: the best span is the teacher's. With `parts` each is a mean over wholes, the log-loss of a whole being
    the mean of its parts', where a part without the answer should say so.

    Args:
        ends: (N, 2, L), each row sums to 1.
        spans: first and last token, (N, 2).
        parts: where items are parts of wholes.

    Raises: Diverged for a probability that is not finite.
    """
    if not np.isfinite(ends).all():
        item = int(np.flatnonzero(~np.isfinite(ends).all(axis=(1, 2)))[0])
        raise Diverged("the student's answers are not finite", f"item {item} of the split is the first", "lower the lr")
    found, right = answered(ends, parts), right_spans(spans, parts)
    shared = np.minimum(found[:, 1], right[:, 1]) - np.maximum(found[:, 0], right[:, 0]) + 1
    lengths = (found[:, 1] - found[:, 0] + 1) + (right[:, 1] - right[:, 0] + 1)
    own = np.take_along_axis(ends, spans[:, :, None], axis=2)
    nats = -np.log(np.maximum(own, np.finfo(np.float64).eps))
    scores: dict[str, float | None] = {
        "accuracy": float((found == right).all(axis=1).mean()),
        "span_f1": float((2 * np.maximum(shared, 0) / lengths).mean()),
        "log_loss": float(nats.mean() if parts is None else _mean_of_wholes(nats.mean(axis=(1, 2)), parts)),
    }
    if teacher_ends is not None:
        scores["agreement"] = float((found == answered(teacher_ends, parts)).all(axis=1).mean())
    return scores


def _mean_of_wholes(values: NDArray[np.float64], parts: Parts) -> float:
    """The mean over wholes of the means over their parts."""
    whole = np.unique(parts[:, 0], return_inverse=True)[1]
    return float((np.bincount(whole, values) / np.bincount(whole)).mean())
