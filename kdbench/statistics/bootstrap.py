"""Bootstrap intervals: over seeds, and over the items of a test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 9999
BCA_LEAST = 60
"""Fewer seeds than these have no bootstrap interval: it would be too short (docs/statistics.md has the simulation)."""


def bca_interval(
    values: Sequence[float],
    confidence: float = 0.95,
    *,
    resamples: int = RESAMPLES,
    least: int = BCA_LEAST,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The bias-corrected and accelerated bootstrap interval of the mean (Efron, 1987), by scipy.

    For bounded metrics near their end, where a t interval can reach beyond it. The same values give the same interval.
    None for fewer than `least` values, and for values that do not vary.
    """
    if len(values) < max(2, least) or min(values) == max(values):
        return None
    import numpy as np
    from scipy import stats

    found = stats.bootstrap(
        (np.asarray(values, dtype=np.float64),), np.mean, confidence_level=confidence, n_resamples=resamples,
        method="BCa", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def items_interval(
    statistic: Callable[..., float],
    *arrays: NDArray[Any],
    confidence: float = 0.95,
    resamples: int = 999,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic over the items of a test split, by scipy.

    It says how far the number depends on which items were drawn, for one trained model; not how it varies by seed.

    Args:
        statistic: of arrays that hold the same items, such as (probabilities, labels).
        arrays: (N, ...), resampled together along the first axis, N ≥ 2.
        confidence, resamples, seed: of the bootstrap.
    """
    import numpy as np
    from scipy import stats

    def resampled(places: NDArray[np.int64]) -> float:
        return statistic(*(array[places] for array in arrays))

    found = stats.bootstrap(
        (np.arange(len(arrays[0])),), resampled, confidence_level=confidence, n_resamples=resamples, vectorized=False,
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
