"""Methods compared across datasets, after Demšar (2006): ranks, Friedman's test, Nemenyi's comparison.

`scores` is (N, k): N datasets by k methods, complete.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_DATASETS, LEAST_METHODS = 5, 3
"""Fewer do not support a conclusion: with four datasets even the same order on all of them is within chance for many
methods, and χ² is a poor approximation."""


@dataclass(frozen=True)
class Friedman:
    """Friedman's test that all methods are alike."""

    statistic: float
    p_value: float
    datasets: int
    methods: int
    too_few: str | None
    """Why this does not support a conclusion; None where it may."""


def average_ranks(scores: NDArray[Any], *, higher_is_better: bool = True) -> NDArray[Any]:
    """The mean rank of each method over datasets (k,): 1 is best, equal scores share the mean of their ranks."""
    ranks: NDArray[Any] = _ranks(scores, higher_is_better=higher_is_better).mean(axis=0)
    return ranks


def friedman(scores: NDArray[Any]) -> Friedman:
    """Friedman's χ² (1937), corrected for ties, by scipy."""
    import numpy as np
    from scipy import stats

    datasets, methods = np.asarray(scores).shape
    too_few = too_few_to_rank(datasets, methods)
    if datasets < 2 or methods < 3:
        return Friedman(math.nan, math.nan, datasets, methods, too_few)
    with np.errstate(invalid="ignore", divide="ignore"):  # methods that are equal on every dataset
        found = stats.friedmanchisquare(*np.asarray(scores, dtype=np.float64).T)
    if not math.isfinite(found.statistic):
        return Friedman(0.0, 1.0, datasets, methods, too_few)
    return Friedman(float(found.statistic), float(found.pvalue), datasets, methods, too_few)


def nemenyi(scores: NDArray[Any]) -> NDArray[Any]:
    """P-values (k, k) of the difference of each two mean ranks (Nemenyi, 1963), corrected for the number of methods."""
    import numpy as np
    from scipy import stats

    datasets, methods = np.asarray(scores).shape
    ranks = average_ranks(scores)
    distances = np.abs(ranks[:, None] - ranks[None, :]) / math.sqrt(methods * (methods + 1) / (6 * datasets))
    p_values: NDArray[Any] = stats.studentized_range.sf(distances * math.sqrt(2), methods, np.inf)
    np.fill_diagonal(p_values, 1.0)
    return p_values


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """How far two mean ranks must be apart to differ at level α: q √(k (k + 1) / 6N) (Demšar, 2006, section 3.2.2)."""
    return rank_quantile(methods, alpha) * math.sqrt(methods * (methods + 1) / (6 * datasets))


def rank_quantile(methods: int, alpha: float = 0.05) -> float:
    """q: the critical value of the Studentized range of `methods` means, divided by √2."""
    from scipy import stats

    return float(stats.studentized_range.ppf(1 - alpha, methods, math.inf)) / math.sqrt(2)


def win_tie_loss(scores: NDArray[Any], *, higher_is_better: bool = True, tolerance: float = 1e-12) -> NDArray[Any]:
    """On how many datasets each method is better than, equal to and worse than each other one: (k, k, 3) counts."""
    import numpy as np

    values = np.asarray(scores, dtype=np.float64) * (1 if higher_is_better else -1)
    differences = values[:, :, None] - values[:, None, :]
    equal = np.abs(differences) <= tolerance
    wins = ((differences > 0) & ~equal).sum(axis=0)
    return np.stack([wins, equal.sum(axis=0), wins.T], axis=-1)


def too_few_to_rank(datasets: int, methods: int) -> str | None:
    """Why a comparison of ranks supports no conclusion; None where it may."""
    if methods < LEAST_METHODS:
        return f"{methods} methods on the same datasets: ranks are compared from {LEAST_METHODS} methods on"
    if datasets < LEAST_DATASETS:
        return f"{datasets} datasets with the same methods: too few to conclude, from {LEAST_DATASETS} on"
    return None


def _ranks(scores: NDArray[Any], *, higher_is_better: bool) -> NDArray[Any]:
    import numpy as np
    from scipy import stats

    values = np.asarray(scores, dtype=np.float64)
    ranks: NDArray[Any] = stats.rankdata(-values if higher_is_better else values, axis=1)
    return ranks
