"""Differences between two methods at the same seeds: test, effect size, correction for many methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1e-12
"""Spreads below this share of the values' size come from rounding: they count as none."""


@dataclass(frozen=True)
class PairedTest:
    """The two-sided paired t-test."""

    n: int
    t: float
    p_value: float


def paired_test(pairs: Sequence[tuple[float, float]]) -> PairedTest | None:
    """Student's paired t-test of first - second = 0, two-sided.

    None for fewer than two pairs, and for differences that do not vary: they tell nothing about their spread.
    """
    from scipy.special import stdtr  # scipy.stats takes several times longer to import

    found = _mean_and_deviation(pairs)
    if found is None:
        return None
    n, mean, deviation = found
    t = mean / (deviation / math.sqrt(n))
    return PairedTest(n, t, float(2 * stdtr(n - 1, -abs(t))))


def cohen_dz(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Cohen's d for paired samples: the mean difference in standard deviations of the differences (Cohen, 1988, 2.3.5).

    None as for `paired_test`. About 0.2 is called small, 0.5 medium, 0.8 large; over seeds that differ little it is
    often far above these.
    """
    found = _mean_and_deviation(pairs)
    return None if found is None else found[1] / found[2]


def hedges_g(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Hedges' g of two independent samples: (mean - mean) / pooled standard deviation, without its small-sample bias.

    The correction is the exact one, Γ(m/2) / (√(m/2) Γ((m - 1)/2)) with m = n₁ + n₂ - 2 (Hedges, 1981, eq. 6e).
    None where a sample has fewer than two values, or neither varies.
    """
    if len(first) < 2 or len(second) < 2:
        return None
    means = [math.fsum(sample) / len(sample) for sample in (first, second)]
    squares = math.fsum((v - m) ** 2 for sample, m in zip((first, second), means, strict=True) for v in sample)
    freedom = len(first) + len(second) - 2
    pooled = math.sqrt(squares / freedom)
    if pooled <= ROUNDING * max(map(abs, (*first, *second))):
        return None
    log_correction = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - 0.5 * math.log(freedom / 2)
    return math.exp(log_correction) * (means[0] - means[1]) / pooled


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number by Holm's step-down method (Holm, 1979): the chance of one false claim.

    Each is a rejection at level α where its corrected value is at most α. None stays None and does not count.
    """
    places = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    greatest = 0.0
    for step, (p, place) in enumerate(places):
        greatest = max(greatest, min(1.0, (len(places) - step) * p))
        corrected[place] = greatest
    return corrected


def _mean_and_deviation(pairs: Sequence[tuple[float, float]]) -> tuple[int, float, float] | None:
    n = len(pairs)
    if n < 2:
        return None
    differences = [first - second for first, second in pairs]
    mean = math.fsum(differences) / n
    deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if deviation <= ROUNDING * max(abs(value) for pair in pairs for value in pair):
        return None
    return n, mean, deviation
