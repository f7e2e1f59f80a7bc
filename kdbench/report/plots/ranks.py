"""Methods across datasets: the critical-difference diagram, and who wins against whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator

from kdbench.report.across import Across, wins_ties_losses
from kdbench.report.across_text import across_headline, across_title
from kdbench.report.leaderboard import Leaderboard
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.style import BLUE, INK, RED, head, labels, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 25
"""Methods of the matrix: more would not be read."""
_ROW = 0.23


def critical_differences(compared: Across | None) -> Figure:
    """Average ranks, best first; bars join methods closer than the critical difference (Demšar, 2006, fig. 1).

    Raises: LeftOut where too few leaderboards have methods in common.
    """
    if compared is None:
        raise LeftOut("it takes two leaderboards with two methods in common")
    ranks = [standing.average_rank for standing in compared.standings]
    distance = compared.critical_difference
    groups = [] if distance is None else cliques(ranks, distance)
    figure = new_figure(8.2, 1.7 + _ROW * len(ranks))
    axes = figure.subplots()
    axes.hlines(range(len(ranks)), 1, ranks, color="0.85", linewidth=1)
    axes.plot(ranks, range(len(ranks)), "o", color=BLUE, markersize=6)
    for place, rank in enumerate(ranks):
        axes.annotate(
            f"{rank:.2f}", (rank, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    right = max(ranks) + 0.06 * len(ranks) + 0.4
    step = 0.035 * len(ranks)
    for number, (first, last) in enumerate(groups):
        axes.vlines(right + number * step, first - 0.3, last + 0.3, color=RED, linewidth=3)
    if distance is not None:
        axes.annotate(
            "", (1 + distance, -1), (1, -1), arrowprops={"arrowstyle": "|-|", "mutation_scale": 4, "color": INK}
        )
        axes.annotate(
            f"critical difference {distance:.2f}", (1 + distance, -1), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(ranks)), labels([standing.method for standing in compared.standings]))
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_ylim(len(ranks) - 0.4, -1.8 if distance is not None else -0.8)
    axes.set_xlim(left=1 - 0.02 * len(ranks))
    axes.xaxis.set_major_locator(FixedLocator(_whole(len(ranks))))
    axes.set_xlabel("average rank (1 is best)")
    joined = "bars at the right join methods that are closer than that" if groups else ""
    head(figure, across_title(compared), across_headline(compared), compared.too_few or joined)
    return figure


def _whole(most: int) -> list[int]:
    """Ranks to mark on an axis: 1, and then few enough to read."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, most) if most / step <= 12)
    return sorted({1, *range(step, most + 1, step)})


def cliques(ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """The longest stretches of ranks, in order, that span at most the distance; those of one alone are left out."""
    found, reached = [], -1
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank <= distance)
        if last > first and last > reached:
            found.append((first, last))
            reached = last
    return found


def wins(boards: Sequence[Leaderboard], compared: Across | None) -> Figure:
    """On how many boards the method of each line is better than, equal to and worse than that of each column.

    Raises: LeftOut where too few leaderboards have methods in common.
    """
    if compared is None:
        raise LeftOut("it takes two leaderboards with two methods in common")
    shown = compared.standings[:MOST]
    number = len(shown)
    size = max(4.6, 2.4 + 0.44 * number)
    figure = new_figure(size + 0.6, size * 0.82)
    axes = figure.subplots()
    methods, all_counts = wins_ties_losses(boards)
    order = [methods.index(standing.method) for standing in shown]
    counts = all_counts[order][:, order].tolist()
    balance = [[(won - lost) / len(compared.boards) for won, _, lost in line] for line in counts]
    axes.pcolormesh(balance, cmap="PuOr_r", vmin=-2.2, vmax=2.2, edgecolor="white", linewidth=1)
    axes.invert_yaxis()
    for i, line in enumerate(counts):
        for j, (won, tied, lost) in enumerate(line):
            if i != j:
                axes.annotate(f"{won}–{tied}–{lost}", (j + 0.5, i + 0.5), ha="center", va="center", fontsize=6.5)
    names = labels([standing.method for standing in shown])
    axes.set_yticks([place + 0.5 for place in range(number)], names)
    axes.set_xticks([place + 0.5 for place in range(number)], names, rotation=60, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, labelsize=8)
    of = (
        "" if number == len(compared.standings) else f"; the best {number} of {len(compared.standings)} by average rank"
    )
    what = f"wins–ties–losses of the line's method against the column's, by mean {compared.metric}{of}"
    head(figure, across_title(compared), what)
    return figure
