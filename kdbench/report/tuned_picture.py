"""The curves of a search as a picture: a small panel for each method, the others behind it in grey."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdbench.report.tuned import TunedBoard, TunedRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_COLUMNS = 6
_PANEL = (1.9, 1.35)
"""Inches."""


def picture(boards: Sequence[TunedBoard]) -> bytes:
    """The best validation value so far against trials, one board below the other, as PNG; matplotlib draws it."""
    output = io.BytesIO()
    draw(boards).savefig(output, format="png", dpi=110)
    return output.getvalue()


def draw(boards: Sequence[TunedBoard]) -> Figure:
    """The same as a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = [_curves(board) for board in boards]
    lines = [max(1, -(-len(each) // _COLUMNS)) for each in curves]
    heights = [count * _PANEL[1] + 0.7 for count in lines]
    figure = Figure(figsize=(_COLUMNS * _PANEL[0], sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(boards), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, board, each, count in zip(parts, boards, curves, lines, strict=True):
        _draw(part, board, each, count)
    return figure


def _curves(board: TunedBoard) -> list[tuple[TunedRow, list[tuple[int, float]]]]:
    """The rows that have a curve, with its points."""
    found = [
        (row, [(number, value) for number, value in enumerate(row.curve, start=1) if value is not None])
        for row in board.rows
    ]
    return [(row, points) for row, points in found if points]


def _draw(part: SubFigure, board: TunedBoard, curves: Sequence[tuple[TunedRow, Any]], lines: int) -> None:
    base = next((points[-1][1] for row, points in curves if row.label == board.baseline), None)
    part.suptitle(board.title, fontsize="medium")
    part.supxlabel("trials", fontsize="small")
    part.supylabel(f"best validation {board.metric} so far", fontsize="small")
    panels = list(part.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False).flat)
    for panel, (row, points) in zip(panels, curves, strict=False):
        for _, others in curves:
            panel.step(*zip(*others, strict=True), where="post", color="0.85", linewidth=0.6)
        if base is not None:
            panel.axhline(base, color="0.4", linestyle="--", linewidth=0.8)
        panel.step(*zip(*points, strict=True), where="post", color="C0", marker="." if len(points) == 1 else "")
        panel.set_title(row.label, fontsize="small", pad=2)
        panel.tick_params(labelsize="x-small")
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
