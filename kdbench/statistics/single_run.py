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

    Of several findings the area is the mean of theirs, those left out that nobody or everybody has. An item moves all
    of them at once, whether it has one finding or several: the variance sums the squares of what each item adds to the
    mean (its influence; LeDell et al., 2015), which of one finding is DeLong's. The one more item of each group is as
    much of the whole as it is of the findings one by one. The degrees of freedom are the findings' harmonic mean,
    weighted by their variances.

    Args:
        scores: (N,), or (N, C) of C findings; greater means more likely positive.
        positive: truths, of the same shape.
        confidence: of the interval.

    Returns: None without both a positive and a negative item.
    """
    import numpy as np
    from scipy.special import stdtrit

    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64).T)
    truths = np.atleast_2d(np.asarray(positive, dtype=bool).T)
    ranked = [_Ranking.of(column, truth) for column, truth in zip(columns, truths, strict=True)]
    known = [ranking for ranking in ranked if ranking is not None]
    if not known:
        return None
    value = float(np.mean([ranking.area for ranking in known]))
    if any(min(ranking.sizes) < 2 for ranking in known):
        return Auc(value, math.nan, None, None)
    together = float(np.square(np.sum([ranking.influence for ranking in known], axis=0)).sum())
    variance = (together + sum(ranking.unbiased - ranking.plain for ranking in known)) / len(known) ** 2
    if any(ranking.unbiased <= 0 or not 0 < ranking.area < 1 for ranking in known):
        return Auc(value, max(variance, 0.0), None, None)
    weights = [sum(ranking.with_one_more) for ranking in known]
    taken = together * sum(weights) / sum(ranking.plain for ranking in known) / len(known) ** 2
    freedom = sum(weights) / sum(weight / ranking.freedom for weight, ranking in zip(weights, known, strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(taken) / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return Auc(value, variance, 1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle)))


@dataclass(frozen=True)
class _Ranking:
    """How items are ranked by the scores of one finding: its area, and what each item adds to it."""

    area: float
    influence: NDArray[Any]
    """(N,), of the items in their order: how far an item's share of won pairs is from the area, by its group's size."""
    sizes: tuple[int, int]
    """Positive and negative items."""
    squares: tuple[float, float]
    """Sums of the influences' squares over the positive and over the negative items."""

    @classmethod
    def of(cls, scores: NDArray[Any], positive: NDArray[Any]) -> _Ranking | None:
        """None without both a positive and a negative item."""
        import numpy as np
        from scipy.stats import rankdata

        above, below = scores[positive], scores[~positive]
        m, n = len(above), len(below)
        if not m or not n:
            return None
        ranks = rankdata(np.concatenate([above, below]))
        beaten = (ranks[:m] - rankdata(above)) / n
        """Of each positive item, the share of negative ones that it is ranked above."""
        unbeaten = 1 - (ranks[m:] - rankdata(below)) / m
        area, influence = float(beaten.mean()), np.empty(len(scores))
        influence[positive], influence[~positive] = (beaten - area) / m, (unbeaten - area) / n
        squares = np.square(influence)
        return cls(area, influence, (m, n), (float(squares[positive].sum()), float(squares[~positive].sum())))

    @property
    def plain(self) -> float:
        """The variance, divided by the sizes of the groups."""
        return sum(self.squares)

    @property
    def unbiased(self) -> float:
        """DeLong's variance, divided by one less."""
        return sum(square * size / (size - 1) for square, size in zip(self.squares, self.sizes, strict=True))

    @property
    def with_one_more(self) -> list[float]:
        """Of each group, the variance with one more item."""
        deviation = self.area * (1 - self.area) / 3
        return [square + deviation / size**2 for square, size in zip(self.squares, self.sizes, strict=True)]

    @property
    def freedom(self) -> float:
        """Degrees of freedom of Brunner & Munzel (2000), of the variances with one more item."""
        parts = self.with_one_more
        each = [part**2 / (size - 1) for part, size in zip(parts, self.sizes, strict=True)]
        return float(sum(parts) ** 2 / sum(each))


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
