"""Small panels of one size, as many as there are rows, under one heading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.report.plots.style import labels, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST, LABEL = 60, 24
"""Panels of a figure, the best rows'; characters above each."""
_FEW, _COLUMNS = 10, (5, 6)


def panels(names: Sequence[str], size: tuple[float, float], x: str, y: str) -> tuple[Figure, list[Axes]]:
    """A figure with axes of `size` inches for each name, which share their scales; `x` and `y` say what these are."""
    number = len(names)
    columns = max(2, min(_COLUMNS[number > _FEW], number))
    lines = -(-number // columns)
    figure = new_figure(max(5.6, columns * size[0]), lines * size[1] + 1.1)
    grid = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes in grid[number:]:
        axes.set_axis_off()
    for place, (axes, name) in enumerate(zip(grid, labels(names, LABEL), strict=False)):
        axes.set_title(name, fontsize=7.5, pad=2)
        axes.tick_params(labelsize=7)
        axes.grid()
        if place + columns >= number:  # there is no panel below it
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(x, fontsize=7.5)
    figure.supylabel(y, fontsize=9)
    return figure, grid[:number]


def best_of(shown: int, total: int) -> str:
    """`; the best 60 of 70`, where not all are shown."""
    return "" if shown == total else f"; the best {shown} of {total}"
