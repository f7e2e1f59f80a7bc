"""Scores of embeddings: finding a partner among many, and telling same from different."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.engine.metrics import area_and_precision, check_finite, counts_by_threshold

TOP = 10
MOST_PAIRS = 5_000_000
_ROWS = 1024
Embeddings = NDArray[np.float64]


def score_search(
    embeddings: Embeddings,
    targets: Embeddings,
    labels: NDArray[np.int64],
    *,
    teacher_embeddings: Embeddings | None = None,
) -> dict[str, float | None]:
    """How well items find their partners by cosine similarity.

    The candidates are the distinct targets of the split, one for each label (its first item's). Precision at 1 is the
    share of items whose nearest candidate is theirs, hit rate at 10 that of those that have it among ten, MRR the mean
    of 1/rank. The reverse direction goes from each candidate to the items; the first of its own counts. Of equally near
    candidates the right one comes last. Agreement is the share of items whose nearest candidate is the teacher's.

    Args:
        embeddings, targets: (N, D), N ≥ 1; a row of zeros is as near to everything.
        labels: (N,): items of one label have one partner.
        teacher_embeddings: (N, D).

    Raises: Diverged for an embedding that is not finite.
    """
    check_finite(embeddings)
    _, first, partner = np.unique(labels, return_index=True, return_inverse=True)
    queries, candidates = _directions(embeddings), _directions(targets[first])
    ranks, nearest = _ranks(queries, candidates, partner[:, None] == np.arange(len(first)))
    back, _ = _ranks(candidates, queries, np.arange(len(first))[:, None] == partner)
    scores: dict[str, float | None] = {
        "precision_at_1": float((ranks == 1).mean()),
        "mrr": float((1 / ranks).mean()),
        f"hit_rate_at_{TOP}": float((ranks <= TOP).mean()),
        "precision_at_1_reverse": float((back == 1).mean()),
        "mrr_reverse": float((1 / back).mean()),
    }
    if teacher_embeddings is not None:
        _, other = _ranks(_directions(teacher_embeddings), candidates, partner[:, None] == np.arange(len(first)))
        scores["agreement"] = float((nearest == other).mean())
    return scores


def score_verification(embeddings: Embeddings, labels: NDArray[np.int64]) -> dict[str, float | None]:
    """How well cosine similarity tells pairs of one label from others.

    Over all pairs of different items, or 5,000,000 of them drawn with a fixed seed where there are more: ROC AUC,
    average precision, and the equal error rate, where the ROC curve, straight between its points, has as many false
    acceptances as false rejections; None where all pairs are of one kind. Precision at 1 is the share of items whose
    nearest other item has their label, of those that have such another.

    Args:
        embeddings: (N, D), N ≥ 2.
        labels: (N,).

    Raises: Diverged for an embedding that is not finite.
    """
    check_finite(embeddings)
    directions = _directions(embeddings)
    one, other = _pairs(len(labels))
    likeness = np.concatenate(
        [
            np.einsum("nd,nd->n", directions[one[start:end]], directions[other[start:end]])
            for start, end in ((s, s + _ROWS * 64) for s in range(0, len(one), _ROWS * 64))
        ]
    )
    same = labels[one] == labels[other]
    known = area_and_precision(likeness, same)
    hits, counted = 0, 0
    for start in range(0, len(labels), _ROWS):
        near = directions[start : start + _ROWS] @ directions.T
        rows = np.arange(len(near))
        near[rows, rows + start] = -np.inf
        alike = labels[start : start + _ROWS, None] == labels
        alike[rows, rows + start] = False
        hits += int(alike[rows, near.argmax(1)].sum())
        counted += int(alike.any(axis=1).sum())
    return {
        "roc_auc": None if known is None else known[0],
        "eer": None if known is None else equal_error_rate(likeness, same),
        "average_precision": None if known is None else known[1],
        "precision_at_1": hits / counted if counted else None,
    }


def equal_error_rate(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Where the ROC curve, straight between its points, meets false positive rate = false negative rate."""
    false, true, _ = counts_by_threshold(values, positive)
    accepted = np.append(0, false / false[-1])
    rejected = 1 - np.append(0, true / true[-1])
    gap = rejected - accepted  # falls from 1 to −1
    after = int(np.flatnonzero(gap <= 0)[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(accepted[after - 1] + share * (accepted[after] - accepted[after - 1]))


def _pairs(items: int) -> tuple[NDArray[Any], NDArray[Any]]:
    count = items * (items - 1) // 2
    if count <= MOST_PAIRS:
        return np.triu_indices(items, 1)
    draw = np.random.default_rng(0)
    one = draw.integers(items, size=MOST_PAIRS)
    return one, (one + draw.integers(1, items, size=MOST_PAIRS)) % items


def _directions(embeddings: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1)


def _ranks(
    queries: Embeddings, candidates: Embeddings, right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of the nearest right candidate, from 1 and behind equals, and the nearest candidate of each query."""
    ranks, nearest = [], []
    for start in range(0, len(queries), _ROWS):
        likeness = queries[start : start + _ROWS] @ candidates.T
        mine = right[start : start + _ROWS]
        best = np.where(mine, likeness, -np.inf).max(axis=1, keepdims=True)
        ranks.append(1 + ((likeness >= best) & ~mine).sum(axis=1))
        nearest.append(likeness.argmax(axis=1))
    return np.concatenate(ranks), np.concatenate(nearest)
