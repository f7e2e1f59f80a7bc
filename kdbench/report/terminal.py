"""Leaderboards as tables for a terminal."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.report.cells import Column, columns, errors, headline, is_supported, legend, not_run_lines, one_line
from kdbench.report.leaderboard import Leaderboard

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from kdbench.plan import NotRun

_LEAST_WIDTH = 40
_DEFAULT_WIDTH = 120
"""Where the output is not a terminal."""
_GAP = 2
"""Between columns: a space of padding, and one where the box has its rule."""
_MARK = "*"
_BOLD = {"label", "mean", "difference"}


def render_table(
    boards: Sequence[Leaderboard], not_run: Sequence[NotRun] = (), *, width: int | None = None, color: bool = False
) -> str:
    """The boards one below the other; columns that do not fit are left out, the least important first.

    Args:
        boards: what to show.
        not_run: what was selected and did not run.
        width: columns of the terminal; asked of it where None.
        color: use ANSI colours and bold. Supported improvements carry an asterisk in any case.
    """
    from rich.console import Console
    from rich.text import Text

    width = max(width or shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns, _LEAST_WIDTH)
    output = io.StringIO()
    console = Console(
        file=output, width=width, force_terminal=color, color_system="standard" if color else None,
        no_color=not color, highlight=False, emoji=False, markup=False, legacy_windows=False,
    )  # fmt: skip
    tables = [(board, _fitting(columns(board), width)) for board in boards]
    for board, shown in tables:
        _print_board(console, board, shown)
    if tables:
        console.print(Text(legend(tables, _MARK), style="dim"))
    for line in not_run_lines(not_run):
        console.print(Text(line, style="yellow"))
    if not boards:
        console.print(Text("no runs"))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def _print_board(console: Console, board: Leaderboard, shown: Sequence[Column]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text(one_line(board.title), style="bold"))
    console.print(Text(headline(board)))
    console.print(_table(board, shown))
    for style, lines in (("", board.notes), ("red", errors(board))):
        for line in lines:
            console.print(Padding(Text(one_line(line), style=style), (0, 0, 0, 2)))
    console.print()


def _table(board: Leaderboard, shown: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    supported = [is_supported(row) for row in board.rows]
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False
    )
    for column in shown:
        is_label = column.key == "label"
        table.add_column(
            Text(column.title), justify="left" if is_label else "right", no_wrap=not is_label, overflow="fold"
        )
    for place, marked in enumerate(supported):
        cells = [
            Text(_marked(column, place, marked=marked), style="bold green" if marked and column.key in _BOLD else "")
            for column in shown
        ]
        table.add_row(*cells)
    return table


def _marked(column: Column, place: int, *, marked: bool) -> str:
    """Every cell of the column of differences ends in the mark or its space, so that the numbers stay aligned."""
    cell = column.cells[place]
    return f"{cell}{_MARK if marked else ' '}" if column.key == "difference" else cell


def _fitting(found: Sequence[Column], width: int) -> list[Column]:
    from rich.cells import cell_len

    widths = {c.key: max(map(cell_len, (c.title, *c.cells))) + _GAP + (c.key == "difference") for c in found}
    shown = list(found)
    while sum(widths[c.key] for c in shown) - _GAP > width and any(c.importance for c in shown):
        shown.remove(max(shown, key=lambda column: column.importance))
    return shown
