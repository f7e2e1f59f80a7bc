"""Means with Student's t intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

CONFIDENCE = 0.95
_ROUNDING = 1e-12
"""Spreads below this share of the values' size come from rounding: they count as none."""


@dataclass(frozen=True)
class Interval:
    """A sample's mean, and how far its confidence interval reaches to either side."""

    n: int
    mean: float
    std: float | None
    """Sample standard deviation (n - 1); None for a single value."""
    half_width: float | None
    """None for a single value."""

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The mean and its t interval: mean ± t(n - 1, (1 + confidence) / 2) · std / √n.

    None for no values. The values are taken as independent draws from one roughly normal distribution.
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(1, mean, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    if std <= _ROUNDING * max(map(abs, values)):
        std = 0.0
    return Interval(n, mean, std, t_quantile(n - 1, confidence) * std / math.sqrt(n))


def paired_interval(pairs: Iterable[tuple[float, float]], confidence: float = CONFIDENCE) -> Interval | None:
    """The mean of first - second over the pairs and its t interval: the interval of the paired t-test.

    None for no pairs.
    """
    pairs = list(pairs)
    interval = mean_interval([first - second for first, second in pairs], confidence)
    if interval is not None and interval.std is not None:
        size = max(abs(value) for pair in pairs for value in pair)
        if interval.std <= _ROUNDING * size:
            mean = 0.0 if abs(interval.mean) <= _ROUNDING * size else interval.mean
            return Interval(interval.n, mean, 0.0, 0.0)
    return interval


@cache
def t_quantile(degrees_of_freedom: int, confidence: float) -> float:
    """The two-sided critical value of Student's t distribution."""
    from scipy.special import stdtrit  # scipy.stats takes several times longer to import

    return float(stdtrit(degrees_of_freedom, (1 + confidence) / 2))
