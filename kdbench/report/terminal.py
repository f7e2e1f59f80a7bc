"""Leaderboards as tables for a terminal."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.report.across import across
from kdbench.report.across_text import across_columns, across_headline, across_remarks, across_title
from kdbench.report.cells import Column, columns, errors, headline, is_supported, legend, not_run_lines, one_line
from kdbench.report.console import terminal_width, text_console, written
from kdbench.report.leaderboard import Leaderboard

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from kdbench.plan import NotRun

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
    tables = [(board, fitting(columns(board), terminal_width(width))) for board in boards]
    blocks = [
        Block(
            board.title,
            headline(board),
            [(shown, [is_supported(row) for row in board.rows])],
            [*(("", note) for note in board.notes), *(("red", error) for error in errors(board))],
        )
        for board, shown in tables
    ]
    compared = across(boards)
    if compared is not None:
        shown = fitting(across_columns(compared), terminal_width(width))
        table = (shown, [False] * len(compared.standings))
        lines = [("", line) for line in across_remarks(compared)]
        blocks.append(Block(across_title(compared), across_headline(compared), [table], lines))
    footer = legend(tables, _MARK) if tables else ""
    return print_blocks(blocks, footer, not_run_lines(not_run), _BOLD, width=width, color=color)


@dataclass(frozen=True)
class Block:
    """A title, a line below it, tables with the rows that are marked in each, and remarks with their styles."""

    title: str
    headline: str
    tables: Sequence[tuple[Sequence[Column], Sequence[bool]]]
    remarks: Sequence[tuple[str, str]]


def print_blocks(
    blocks: Sequence[Block],
    footer: str,
    not_run: Iterable[str],
    bold: Collection[str],
    *,
    width: int | None = None,
    color: bool = False,
) -> str:
    """The blocks one below the other, as text. `bold` are the columns that stand out in a marked row."""
    from rich.padding import Padding
    from rich.text import Text

    output = io.StringIO()
    console = text_console(output, width, color=color)
    for block in blocks:
        console.print(Text(one_line(block.title), style="bold"))
        console.print(Text(block.headline))
        for shown, marked in block.tables:
            if _width(shown) > console.width:
                console.print(_table(shown, marked, bold))
                continue
            lines = _lines(shown, marked)
            if color:
                console.print(_styled(lines, shown, marked, bold), end="", soft_wrap=True)
            else:
                output.writelines(_gap(number).join(line) + "\n" for number, line in enumerate(lines))
        for style, line in block.remarks:
            console.print(Padding(Text(one_line(line), style=style), (0, 0, 0, 2)))
        console.print()
    if footer:
        console.print(Text(footer, style="dim"))
    for line in not_run:
        console.print(Text(line, style="yellow"))
    if not blocks:
        console.print(Text("no runs"))
    return written(output)


def _table(shown: Sequence[Column], supported: Sequence[bool], bold: Collection[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False
    )
    for column in shown:
        is_label = column.key == "label"
        table.add_column(
            Text(column.title),
            justify="left" if column.left else "right",
            no_wrap=not is_label,
            overflow="fold",
        )
    for place, marked in enumerate(supported):
        cells = [
            Text(_marked(column, place, marked=marked), style="bold green" if marked and column.key in bold else "")
            for column in shown
        ]
        table.add_row(*cells)
    return table


def _lines(shown: Sequence[Column], supported: Sequence[bool]) -> list[tuple[str, ...]]:
    """Header, rule and rows of a table whose cells all fit on their lines, each cell padded to its column's width.

    rich would lay it out too, in ten times the time.
    """
    from rich.cells import cell_len

    drawn = []
    for column in shown:
        cells = [column.title, *(_marked(column, place, marked=marked) for place, marked in enumerate(supported))]
        lengths = [cell_len(cell) for cell in cells]
        width = max(lengths)
        pads = [" " * (width - length) for length in lengths]
        aligned = [cell + pad if column.left else pad + cell for cell, pad in zip(cells, pads, strict=True)]
        drawn.append([aligned[0], "─" * width, *aligned[1:]])
    return list(zip(*drawn, strict=True))


def _gap(number: int) -> str:
    return ("─" if number == 1 else " ") * _GAP


def _styled(
    lines: Sequence[tuple[str, ...]], shown: Sequence[Column], supported: Sequence[bool], bold: Collection[str]
) -> Text:
    """The lines with a bold header, and with the columns that stand out in marked rows."""
    from rich.text import Text

    text = Text()
    for number, line in enumerate(lines):
        marked = number > 1 and supported[number - 2]
        for place, (cell, column) in enumerate(zip(line, shown, strict=True)):
            style = "bold" if number == 0 else "bold green" if marked and column.key in bold else ""
            text.append(_gap(number) if place else "").append(cell, style)
        text.append("\n")
    return text


def _marked(column: Column, place: int, *, marked: bool) -> str:
    """Every cell of the column of differences ends in the mark or its space, so that the numbers stay aligned."""
    cell = column.cells[place]
    return f"{cell}{_MARK if marked else ' '}" if column.carries_mark else cell


def fitting(found: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit; those left out are the least important."""
    widths = {column.key: _column_width(column) for column in found}
    shown = list(found)
    while sum(widths[c.key] for c in shown) - _GAP > width and any(c.importance for c in shown):
        shown.remove(max(shown, key=lambda column: column.importance))
    return shown


def _width(shown: Sequence[Column]) -> int:
    return sum(map(_column_width, shown)) - _GAP


def _column_width(column: Column) -> int:
    """Of the longest cell, and of the gap after it."""
    from rich.cells import cell_len

    return max(map(cell_len, (column.title, *column.cells))) + _GAP + column.carries_mark
