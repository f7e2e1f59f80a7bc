"""Leaderboards as Markdown (GitHub's), ready for a README."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kdbench.report.across import Across, across
from kdbench.report.across_text import across_columns, across_headline, across_remarks, across_title
from kdbench.report.cells import Column, columns, errors, headline, is_supported, legend, not_run_lines, one_line
from kdbench.report.leaderboard import Leaderboard

if TYPE_CHECKING:
    from kdbench.plan import NotRun

_LEFT_OUT = {"log_loss", "ece", "train_seconds", "train_memory", "latency_ms_p50"}
_BOLD = {"label", "mean", "difference"}
_SPECIAL = re.compile(r"[\\|*`~]|\[(?=\^)|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
"""An underscore within a word, and brackets that make no link, mean nothing to Markdown."""


def render_markdown(boards: Sequence[Leaderboard], not_run: Sequence[NotRun] = ()) -> str:
    """One section per board: title, what is compared, table, notes and errors; then how to read them all."""
    tables = [(board, [column for column in columns(board) if column.key not in _LEFT_OUT]) for board in boards]
    blocks = ["\n".join(_board(board, shown)) for board, shown in tables]
    compared = across(boards)
    if compared is not None:
        blocks.append("\n".join(_across(compared)))
    if tables:
        blocks.append(f"<sub>{escape(legend(tables, 'bold'))}</sub>")
    if not_run:
        blocks.append("\n".join(f"- {escape(line)}" for line in not_run_lines(not_run)))
    return "\n\n".join(blocks or ["No runs."]) + "\n"


def escape(text: str) -> str:
    """Text on one line that Markdown shows as it is, also within a table's cell."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(lambda match: "\\" + match.group(), plain)


def _board(board: Leaderboard, shown: Sequence[Column]) -> Iterator[str]:
    head = headline(board)
    yield f"### {escape(board.title)}"
    yield ""
    yield escape(head[:1].upper() + head[1:]) + "."
    yield ""
    yield table_line([escape(column.title) for column in shown])
    yield table_line(["---" if column.key == "label" else "---:" for column in shown])
    for place, row in enumerate(board.rows):
        cells = [escape(column.cells[place]) for column in shown]
        if is_supported(row):
            cells = [f"**{cell}**" if column.key in _BOLD else cell for cell, column in zip(cells, shown, strict=True)]
        yield table_line(cells)
    remarks = [*board.notes, *errors(board)]
    if remarks:
        yield ""
        yield from (f"- {escape(remark)}" for remark in remarks)


def _across(compared: Across) -> Iterator[str]:
    shown = across_columns(compared)
    yield from (f"### {escape(across_title(compared))}", "", escape(across_headline(compared)), "")
    yield table_line([escape(column.title) for column in shown])
    yield table_line(["---" if column.left else "---:" for column in shown])
    for place in range(len(compared.standings)):
        yield table_line([escape(column.cells[place]) for column in shown])
    yield ""
    yield from (f"- {escape(remark)}" for remark in across_remarks(compared))


def table_line(cells: Sequence[str]) -> str:
    """One line of a table from escaped cells."""
    return f"| {' | '.join(cells)} |"
