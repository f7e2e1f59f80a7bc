"""Forest plot: each row's difference from its baseline with its 95% interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.metric_info import metric_format
from kdbench.report.cells import difference_baselines
from kdbench.report.leaderboard import Leaderboard
from kdbench.report.notes import LEVEL
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.style import BLUE, FAINT, INK, RED, TITLE, head, labels, new_figure, short
from kdbench.report.rows import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST, _NAMED = 100, 8
_ROW, _WIDTH = 0.21, 8.2
"""Inches."""
_MARKS = {"better": (BLUE, "^"), "worse": (RED, "v"), "not told apart": (FAINT, "o")}


def differences(board: Leaderboard) -> Figure:
    """Rows from the best difference down; numbers as on the leaderboard stand beside them.

    Raises: LeftOut where no row has an interval of a difference.
    """
    rows = [row for row in board.rows if row.difference is not None and row.difference_half_width is not None]
    if not rows:
        raise LeftOut("no row has an interval of its difference: that takes two seeds of the row and of its baseline")
    rows.sort(key=lambda row: (row.difference or 0.0, row.label), reverse=board.higher_is_better)
    shown, scale = rows[:MOST], 100 if board.metric_percent else 1
    write = metric_format(board.metric, signed=True)
    bases = difference_baselines(board)
    letters = {base: _letter(number) for number, base in enumerate(bases)}
    figure = new_figure(_WIDTH, 1.5 + _ROW * len(shown))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.9)
    used: dict[str, None] = {}
    beside = []
    for place, row in enumerate(shown):
        middle, half = scale * (row.difference or 0.0), scale * (row.difference_half_width or 0.0)
        verdict = _verdict(row)
        color, mark = _MARKS[verdict]
        sure = row.p_holm is not None and row.p_holm < LEVEL
        axes.errorbar(
            middle, place, xerr=half, color=color, marker=mark, markersize=5,
            markerfacecolor=color if sure else "white", capsize=2, elinewidth=1.3,
        )  # fmt: skip
        used[verdict] = None
        low, high = ((row.difference or 0.0) + sign * (row.difference_half_width or 0.0) for sign in (-1, 1))
        base = f"  {letters[row.difference_from or '']}" if len(bases) > 1 else ""
        beside.append(f"{write(row.difference or 0.0)} [{write(low)}, {write(high)}]{base}")
    axes.set_yticks(range(len(shown)), labels([row.label for row in shown]))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks(range(len(shown)), beside)
    for side in (axes, numbers):
        side.tick_params(axis="y", length=0, labelsize=8)
    numbers.spines["right"].set_visible(False)
    axes.grid(axis="x")
    unit = " %" if board.metric_percent else ""
    name = short(board.metric_title)
    axes.set_xlabel(f"Δ {name}{unit} ({'right' if board.higher_is_better else 'left'} of 0 is better)")
    lettered = "; ".join(f"{letters[base]}: {short(base)}" for base in bases[:_NAMED])
    lettered += f"; {len(bases) - _NAMED} more" if len(bases) > _NAMED else ""
    base = f"from {short(bases[0])}" if len(bases) == 1 else f"from the row of the letter ({lettered})"
    of = f"; the best {MOST} of {len(rows)}" if len(rows) > MOST else ""
    head(
        figure,
        short(board.title, TITLE),
        f"Δ {name} {base}: mean over common seeds, paired 95% t interval{of}",
    )
    _key(figure, list(used))
    return figure


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else str(number)


def _verdict(row: Row) -> str:
    return "better" if row.better else "worse" if row.worse else "not told apart"


def _key(figure: Figure, used: list[str]) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=color, marker=mark, linestyle="", markerfacecolor="white", label=verdict)
        for verdict, (color, mark) in _MARKS.items()
        if verdict in used
    ]
    filled = Line2D([], [], color=INK, marker="o", linestyle="", label="filled: p < 5% after Holm's correction")
    figure.legend(handles=[*entries, filled], loc="outside lower left", ncols=4)
