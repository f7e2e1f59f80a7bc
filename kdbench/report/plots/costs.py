"""Quality against cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.metric_info import metric_format
from kdbench.report.cells import count
from kdbench.report.leaderboard import COST_REFERENCE, Leaderboard
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.style import BLUE, FAINT, INK, RED, TITLE, head, labels, new_figure, short
from kdbench.report.rows import BATCH, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 16
"""Boards of up to so many rows have every row named; of larger ones the front, the baseline and kd."""
_WIDTH, _LINE, _CHARACTER = 5.4, 0.165, 0.068
"""Inches: of the plot, and of the names beside it."""
_LOG = 20
"""From this quotient of the greatest and the least cost on, the axis is logarithmic."""


@dataclass(frozen=True)
class CostAxis:
    """A cost that a row may have, under the name of its field."""

    field: str
    title: str
    less: bool
    """Whether less of it is better."""


COSTS = {
    "parameters": CostAxis("parameters", "parameters", less=True),
    "throughput": CostAxis("inference_samples_per_s", f"inference, samples/s in batches of {BATCH}", less=False),
    "training": CostAxis("train_seconds", "training, seconds", less=True),
}


def on_the_front(points: Sequence[tuple[float, float]], *, less: bool, higher: bool) -> list[bool]:
    """Of each (cost, quality), whether no other point is as good in both and better in one."""
    signed = [(cost if less else -cost, -quality if higher else quality) for cost, quality in points]
    return [not any(a <= cost and b <= loss and (a < cost or b < loss) for a, b in signed) for cost, loss in signed]


def cost(board: Leaderboard, axis: CostAxis) -> Figure:
    """A point for each row, numbered and named beside the plot where it is on the front.

    Raises: LeftOut where fewer than two rows have both, or the cost is the same for all.
    """
    rows = [row for row in board.rows if row.mean is not None and _cost(row, axis) is not None]
    if len({_cost(row, axis) for row in rows}) < 2:
        raise LeftOut("its rows all cost the same, or have no such cost")
    scale = 100 if board.metric_percent else 1
    points = [(_cost(row, axis) or 0.0, scale * (row.mean or 0.0)) for row in rows]
    front = on_the_front(points, less=axis.less, higher=board.higher_is_better)
    named = [
        row for row, leads in zip(rows, front, strict=True) if leads or len(rows) <= NAMED or _standard(board, row)
    ]
    write = metric_format(board.metric)
    names = [
        f"{number:>2}  {label}, {write(row.mean or 0.0)}"
        for (number, row), label in zip(enumerate(named, start=1), labels([row.label for row in named]), strict=True)
    ]
    if len(named) < len(rows):
        names += ["", f"named of {len(rows)} rows: the front,", f"{short(board.baseline)} and {COST_REFERENCE}"]
    beside = _CHARACTER * max(map(len, names))
    figure = new_figure(_WIDTH + beside, max(4.2, 1.2 + _LINE * len(names)))
    axes, margin = figure.subplots(1, 2, width_ratios=[_WIDTH, beside])
    margin.set_axis_off()
    margin.text(0, 1, "\n".join(names), va="top", fontsize=8, color=INK, linespacing=1.35)
    if board.teacher_mean is not None:
        axes.axhline(scale * board.teacher_mean, color=FAINT, linestyle=":", label="teacher")
    steps = sorted(point for point, leads in zip(points, front, strict=True) if leads)
    axes.step(
        *zip(*steps, strict=True), where="post" if axis.less else "pre", color=BLUE, linestyle="--", linewidth=1,
        label="Pareto front",
    )  # fmt: skip
    numbers = {row.label: number for number, row in enumerate(named, start=1)}
    for row, (x, y), leads in zip(rows, points, front, strict=True):
        base = row.method == board.baseline
        color = BLUE if leads else RED if base else FAINT
        axes.errorbar(
            x, y, yerr=None if row.half_width is None else scale * row.half_width, color=color, elinewidth=0.7,
            marker="s" if base else "o", markersize=6, markerfacecolor=color if leads else "white", zorder=2 + leads,
        )  # fmt: skip
        if row.label in numbers:
            axes.annotate(
                str(numbers[row.label]), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, color=color,
                fontweight="bold" if leads else "normal", zorder=4,
            )  # fmt: skip
    if min(x for x, _ in points) > 0 and max(x for x, _ in points) / min(x for x, _ in points) > _LOG:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: count(value) if value >= 1 or not value else f"{value:g}")
    axes.grid()
    unit = " %" if board.metric_percent else ""
    axes.set_xlabel(f"{axis.title} ({'less' if axis.less else 'more'} is better)")
    axes.set_ylabel(f"{short(board.metric_title)}{unit} ({'more' if board.higher_is_better else 'less'} is better)")
    head(
        figure,
        short(board.title, TITLE),
        f"mean over seeds with its 95% t interval; the cost is a median; square: {board.baseline}",
    )
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def _cost(row: Row, axis: CostAxis) -> float | None:
    value: float | None = getattr(row, axis.field)
    return value


def _standard(board: Leaderboard, row: Row) -> bool:
    return row.method in {board.baseline, COST_REFERENCE} and not row.overrides
