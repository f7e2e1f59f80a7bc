"""Methods across the leaderboards of several datasets: ranks, tests, wins, and the share of the gap recovered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.names import settings_text
from kdbench.report.leaderboard import Leaderboard
from kdbench.report.rows import Row
from kdbench.report.statistics import mean_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One method over the boards that all compared methods are on."""

    method: str
    """With what was overridden."""
    average_rank: float
    """1 is best."""
    wins: int
    """Boards where its mean is better than the baseline's; the next two likewise."""
    ties: int
    losses: int
    gap_recovered: float | None
    """The mean over the boards that have one."""
    gap_half_width: float | None
    """Of its 95% t interval over those boards."""
    gap_boards: int


class Across(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison over boards; the numbers of few are shown, and `too_few` says that they support no conclusion."""

    metric: str
    higher_is_better: bool
    baseline: str
    datasets: int
    """Of different names."""
    boards: list[str]
    """Their titles."""
    standings: list[Standing]
    """Best average rank first."""
    friedman: float | None
    p_value: float | None
    critical_difference: float | None
    """Average ranks this far apart differ at 5% (Nemenyi); None where too few."""
    too_few: str | None
    notes: list[str]


def across(boards: Sequence[Leaderboard]) -> Across | None:
    """The methods that most boards have in common, compared over these boards; None for fewer than two.

    Boards of another metric than the first one's are left out. Of a board with several recipes the rows of the recipe
    with the most rows count, and of rows that still have the same name none does: none is chosen by its result.
    """
    from kdbench import statistics

    methods, chosen = _common(boards)
    if len(chosen) < 2 or len(methods) < 2:
        return None
    first = chosen[0][0]
    scores = _scores(methods, chosen)
    ranks = statistics.average_ranks(scores, higher_is_better=first.higher_is_better)
    order = sorted(range(len(methods)), key=lambda place: (ranks[place], methods[place]))
    test = statistics.friedman(scores)
    versus = statistics.win_tie_loss(scores, higher_is_better=first.higher_is_better)
    base = methods.index(first.baseline) if first.baseline in methods else None
    sharing = len(chosen) - len({board.dataset for board, _ in chosen})
    return Across(
        metric=first.metric,
        higher_is_better=first.higher_is_better,
        baseline=first.baseline,
        datasets=len({board.dataset for board, _ in chosen}),
        boards=[board.title for board, _ in chosen],
        standings=[
            _standing(methods[place], float(ranks[place]), versus[place, base] if base is not None else None, chosen)
            for place in order
        ],
        friedman=None if test.statistic != test.statistic else test.statistic,
        p_value=None if test.p_value != test.p_value else test.p_value,
        critical_difference=None if test.too_few else statistics.critical_difference(len(methods), len(chosen)),
        too_few=test.too_few,
        notes=["several pairs share a dataset: they are not independent, and the tests are optimistic"] * bool(sharing),
    )


def wins_ties_losses(boards: Sequence[Leaderboard]) -> tuple[list[str], NDArray[Any]]:
    """The methods that `across` compares, and (k, k, 3) on how many boards each beats, equals and trails each other."""
    from kdbench import statistics

    methods, chosen = _common(boards)
    higher = chosen[0][0].higher_is_better if chosen else True
    return methods, statistics.win_tie_loss(_scores(methods, chosen), higher_is_better=higher)


def _common(boards: Sequence[Leaderboard]) -> tuple[list[str], list[Table]]:
    """The methods that are compared, and the boards that have them all; of the first board's metric."""
    return _complete([(board, _by_name(board)) for board in boards if board.metric == boards[0].metric])


def _by_name(board: Leaderboard) -> dict[str, Row]:
    """The rows that have a mean, of the board's main recipe, by method; without those of equal names."""
    recipes = Counter(settings_text(row.recipe, row.recipe_overrides) for row in board.rows)
    main = max(recipes, key=lambda name: (recipes[name], name))
    named: dict[str, list[Row]] = {}
    for row in board.rows:
        if row.mean is not None and settings_text(row.recipe, row.recipe_overrides) == main:
            named.setdefault(settings_text(row.method, row.overrides), []).append(row)
    return {name: rows[0] for name, rows in named.items() if len(rows) == 1}


Table = tuple[Leaderboard, dict[str, Row]]


def _complete(tables: Sequence[Table]) -> tuple[list[str], list[Table]]:
    """The commonest methods, and the boards that have them all: as many cells as there can be that way."""
    counts = Counter(name for _, rows in tables for name in rows)
    common = sorted(counts, key=lambda name: (-counts[name], name))
    best: tuple[list[str], list[Table]] = ([], [])
    for size in range(2, len(common) + 1):
        having = [table for table in tables if all(name in table[1] for name in common[:size])]
        if len(having) >= 2 and size * len(having) > len(best[0]) * len(best[1]):
            best = (common[:size], having)
    return best


def _scores(methods: Sequence[str], chosen: Sequence[Table]) -> NDArray[Any]:
    import numpy as np

    return np.array([[rows[name].mean for name in methods] for _, rows in chosen], dtype=np.float64)


def _standing(name: str, rank: float, versus: NDArray[Any] | None, chosen: Sequence[Table]) -> Standing:
    gaps = [gap for _, rows in chosen if (gap := rows[name].gap_recovered) is not None]
    interval = mean_interval(gaps)
    wins, ties, losses = versus.tolist() if versus is not None else (0, 0, 0)
    return Standing(
        method=name,
        average_rank=rank,
        wins=wins,
        ties=ties,
        losses=losses,
        gap_recovered=interval.mean if interval else None,
        gap_half_width=interval.half_width if interval else None,
        gap_boards=len(gaps),
    )
