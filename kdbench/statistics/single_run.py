"""What the test items of one run, or of two runs, support."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Auc:
    """The area under a ROC curve, its variance over test items (DeLong's), and its interval."""

    value: float
    variance: float
    low: float | None
    """None where the variance is 0, as for a perfect ranking: the items do not tell how far it may be off."""
    high: float | None


@dataclass(frozen=True)
class McNemar:
    """Of the items that just one of two runs has right: how many, and the chance of as uneven a division."""

    only_first: int
    only_second: int
    p_value: float
    """Exact, two-sided."""


def auc_interval(scores: NDArray[Any], positive: NDArray[Any], confidence: float = 0.95) -> Auc | None:
    """The area under the ROC curve with the variance of DeLong et al. (1988), computed by midranks (Sun & Xu, 2014).

    The interval is symmetric in the log-odds of the area (Pepe, 2003), so that it stays within (0, 1); its quantile is
    of Student's t with the degrees of freedom of Brunner & Munzel (2000), for with few positive items a normal one is
    too small. Few items near the top of a ranking also make DeLong's variance too small, often by far. For the interval
    the variance of each group is therefore taken with one more item, whose squared deviation is area·(1 − area)/3: that
    of a random ranking, 1/12, shrunk as the area nears 1. That is kdbench's choice, by the simulation in
    docs/statistics.md.

    Args:
        scores: (N,); greater means more likely positive.
        positive: (N,), truths.
        confidence: of the interval.

    Returns: None without both a positive and a negative item.
    """
    import numpy as np
    from scipy.special import stdtrit
    from scipy.stats import rankdata

    positive = np.asarray(positive, dtype=bool)
    above, below = np.asarray(scores, dtype=np.float64)[positive], np.asarray(scores, dtype=np.float64)[~positive]
    m, n = len(above), len(below)
    if not m or not n:
        return None
    ranks = rankdata(np.concatenate([above, below]))
    beaten = (ranks[:m] - rankdata(above)) / n
    """Of each positive item, the share of negative ones that it is ranked above."""
    unbeaten = 1 - (ranks[m:] - rankdata(below)) / m
    value = float(beaten.mean())
    if m < 2 or n < 2:
        return Auc(value, math.nan, None, None)
    variance = float(beaten.var(ddof=1) / m + unbeaten.var(ddof=1) / n)
    if variance <= 0 or not 0 < value < 1:
        return Auc(value, max(variance, 0.0), None, None)
    of_positive, of_negative = (
        (float(np.square(shares - value).sum()) + value * (1 - value) / 3) / len(shares) ** 2
        for shares in (beaten, unbeaten)
    )
    taken = of_positive + of_negative
    freedom = taken**2 / (of_positive**2 / (m - 1) + of_negative**2 / (n - 1))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(taken) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return Auc(value, variance, 1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle)))


def share_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of count / total (Wilson, 1927), by scipy: of an accuracy over test items, total ≥ 1."""
    from scipy.stats import binomtest

    found = binomtest(count, total).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def mcnemar(first_right: NDArray[Any], second_right: NDArray[Any]) -> McNemar:
    """McNemar's exact test (McNemar, 1947) of two runs' answers to the same items, by scipy's binomial test.

    Args:
        first_right, second_right: (N,), whether each item was answered right.
    """
    import numpy as np
    from scipy.stats import binomtest

    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"answers to different items: {len(first)} and {len(second)}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    disagreements = only_first + only_second
    p_value = float(binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
    return McNemar(only_first, only_second, p_value)
