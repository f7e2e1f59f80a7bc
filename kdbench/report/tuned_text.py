"""Tuned leaderboards as tables for a terminal and in Markdown, with the curves of the searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kdbench.metric_info import metric_format
from kdbench.names import settings_text
from kdbench.report.cells import NOTHING, Column, not_run_lines, one_line
from kdbench.report.console import terminal_width
from kdbench.report.markdown import escape, table_line
from kdbench.report.terminal import Block, fitting, print_blocks
from kdbench.report.tuned import TunedBoard, TunedRow

if TYPE_CHECKING:
    from kdbench.plan import NotRun

_BARS = "▁▂▃▄▅▆▇█"
_CURVE = 24
"""Characters of a curve."""
_BOLD = {"label", "tuned", "gain"}


def render_tuned_table(
    boards: Sequence[TunedBoard], not_run: Sequence[NotRun] = (), *, width: int | None = None, color: bool = False
) -> str:
    """Each board with its curves below; columns that do not fit are left out, the least important first."""
    blocks = []
    for board in boards:
        marked = [bool(row.gained) for row in board.rows]
        tables = [(columns(board), marked), (curve_columns(board), [False] * len(marked))]
        fitted = [(fitting(shown, terminal_width(width)), rows) for shown, rows in tables]
        blocks.append(Block(board.title, headline(board), fitted, [("", line) for line in remarks(board)]))
    return print_blocks(blocks, legend(boards, "*"), not_run_lines(not_run), _BOLD, width=width, color=color)


def render_tuned_markdown(boards: Sequence[TunedBoard], not_run: Sequence[NotRun] = ()) -> str:
    """One section per board: the table, the curves, what was not searched and what failed."""
    lines: list[str] = []
    for board in boards:
        head = headline(board)
        lines += [f"### {escape(board.title)}", "", f"{escape(head[:1].upper() + head[1:])}.", ""]
        lines += [*_markdown_table(columns(board), [bool(row.gained) for row in board.rows]), ""]
        lines += [*_markdown_table(curve_columns(board), [False] * len(board.rows)), ""]
        lines += [f"- {escape(remark)}" for remark in remarks(board)]
        lines += [""]
    lines += [f"<sub>{escape(legend(boards, 'bold'))}</sub>"] if boards else ["No runs."]
    lines += ["", *(f"- {escape(line)}" for line in not_run_lines(not_run))] if not_run else []
    return "\n".join(lines) + "\n"


def _markdown_table(shown: Sequence[Column], marked: Sequence[bool]) -> Iterator[str]:
    yield table_line([escape(column.title) for column in shown])
    yield table_line(["---" if column.left else "---:" for column in shown])
    for place, bold in enumerate(marked):
        cells = [escape(column.cells[place]) for column in shown]
        yield table_line(
            [f"**{cell}**" if bold and column.key in _BOLD else cell for cell, column in zip(cells, shown, strict=True)]
        )


def columns(board: TunedBoard) -> list[Column]:
    """The columns that say something about this board, in order."""
    show, signed = metric_format(board.metric), metric_format(board.metric, signed=True)
    rows = board.rows

    def value(mean: float | None, half: float | None) -> str:
        return NOTHING if mean is None else show(mean) + (f" ± {show(half)}" if half is not None else "")

    def interval(mean: float | None, half: float | None) -> str:
        if mean is None:
            return NOTHING
        return signed(mean) + (f" [{signed(mean - half)}, {signed(mean + half)}]" if half is not None else "")

    unit = " %" if _percent(board) else ""
    found = [
        Column("label", "method", [one_line(row.label) for row in rows], 0, left=True),
        Column("trials", "trials", [_trials(row) for row in rows], 3),
        Column("default", f"default{unit}", [value(row.default, row.default_half_width) for row in rows], 0),
        Column("tuned", f"tuned{unit}", [value(row.tuned, row.tuned_half_width) for row in rows], 0),
        Column(
            "gain",
            "tuned − default (95% CI)",
            [interval(row.gain, row.gain_half_width) for row in rows],
            1,
            carries_mark=True,
        ),
        Column(
            "difference",
            f"Δ vs tuned {one_line(board.baseline)} (95% CI)",
            [interval(row.difference, row.difference_half_width) for row in rows],
            2,
        ),
        Column("params", "best parameters", [_params(row) for row in rows], 5, left=True),
        Column("rank", "rank", [NOTHING if row.rank is None else str(row.rank) for row in rows], 4),
    ]
    return [column for column in found if any(cell != NOTHING for cell in column.cells)]


def curve_columns(board: TunedBoard) -> list[Column]:
    """The best validation value so far: a curve, and its value after some numbers of trials."""
    show = metric_format(board.metric)
    longest = max((row.budget for row in board.rows), default=1)
    stops = [stop for stop in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if stop < longest] + [longest]
    values = [value for row in board.rows for value in row.curve if value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)

    def at(row: TunedRow, stop: int) -> str:
        reached = row.curve[stop - 1] if stop <= len(row.curve) else None
        return NOTHING if reached is None else show(reached)

    return [
        Column(
            "label", f"best validation {board.metric} so far", [one_line(row.label) for row in board.rows], 0, left=True
        ),
        *(
            Column(
                f"at {stop}",
                f"{stop} trial{'s' * (stop > 1)}" if stop == 1 else str(stop),
                [at(row, stop) for row in board.rows],
                0,
            )
            for stop in stops
        ),
        Column("curve", "by trial", [_curve(row.curve, low, high) for row in board.rows], 1, left=True),
    ]


def headline(board: TunedBoard) -> str:
    """How the search went, in one line."""
    budget = max((row.budget for row in board.rows), default=1)
    seeds = ", ".join(map(str, board.trial_seeds))
    searched = f", {', '.join(f'recipe.{name}' for name in board.recipe_searched)} searched too" * bool(
        board.recipe_searched
    )
    final = f"{len(board.seeds)} seed{'s' * (len(board.seeds) > 1)}"
    return one_line(
        f"{budget} trial{'s' * (budget > 1)} for every method ({board.sampler}, seed {seeds}{searched}), the best"
        f" chosen on validation {board.metric}; then {final} with the defaults and with the best"
    )


def remarks(board: TunedBoard) -> Iterator[str]:
    """What has nothing to search, what failed, and what that means."""
    idle = [row.label for row in board.rows if row.budget == 1 and max(r.budget for r in board.rows) > 1]
    if idle:
        yield one_line(f"{', '.join(idle)}: nothing to search; the defaults are the only trial")
    for row in board.rows:
        if row.unfinished:
            first = next(trial for trial in row.trials if trial.value is None)
            if row.unfinished < row.budget or first.error != row.error:  # else the error below tells it
                yield one_line(
                    f"{row.label}: {row.unfinished} of {row.budget} trials did not end well, the first of them trial"
                    f" {first.number}: {first.error}"
                )
        if row.error:
            yield one_line(f"{row.label}: {row.error}")


def legend(boards: Sequence[TunedBoard], marked: str) -> str:
    """How to read the columns."""
    if not boards:
        return ""
    board = boards[0]
    better = "higher" if board.higher_is_better else "lower"
    return (
        f"default, tuned: {board.metric} on the test split, mean ± half-width of the 95% t interval over the final"
        f" seeds, {better} is better; differences are paired by seed; {marked}: the interval of tuned − default lies"
        " on the better side of 0 (each row by itself: by chance alone, one row in 40); trials never see the test"
        " split."
    )


def _trials(row: TunedRow) -> str:
    return f"{row.budget - row.unfinished}/{row.budget}" if row.unfinished else str(row.budget)


def _params(row: TunedRow) -> str:
    if row.best_trial is None:
        return NOTHING
    recipe = {f"recipe.{name}": value for name, value in row.recipe_overrides.items()}
    text = settings_text("", {**row.params, **recipe})
    return one_line(text[1:-1]) if text else "the defaults"


def _curve(values: Sequence[float | None], low: float, high: float) -> str:
    """A line of bars, all rows on one scale; a dot where nothing has ended well yet."""
    stride = max(1, -(-len(values) // _CURVE))
    shown = [values[min(end, len(values)) - 1] for end in range(stride, len(values) + stride, stride)]
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join("·" if value is None else _BARS[round((value - low) * scale)] for value in shown)


def _percent(board: TunedBoard) -> bool:
    from kdbench.metric_info import METRICS

    return board.metric in METRICS and METRICS[board.metric].percent
