"""Learning curves: what validation said after each epoch, over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kdbench.metric_info import METRICS
from kdbench.records import Record
from kdbench.report.leaderboard import Leaderboard
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.panels import MOST, best_of, panels
from kdbench.report.plots.style import BLUE, INK, TITLE, head, short
from kdbench.report.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Band = dict[float, tuple[float, float]]
"""By epoch the mean over runs, and its standard deviation: 0 of a single run."""
_PANEL = (1.6, 1.3)
"""Inches."""
_PREFERRED = ("val_accuracy", "val_loss")


def learning(board: Leaderboard, runs: Mapping[str, Sequence[Record]]) -> Figure:
    """A panel for each row, best first.

    Args:
        board: what the rows are of.
        runs: the records of each row that ended well, by its label.

    Raises: LeftOut where no run has a history of two epochs.
    """
    rows = [row.label for row in board.rows if runs.get(row.label)]
    name = _what(board, [run for label in rows for run in runs[label]])
    curves = {label: bands(runs[label], name) for label in rows} if name else {}
    curves = {label: band for label, band in curves.items() if len(band) > 1}
    if not curves:
        raise LeftOut("no run has a history of two epochs or more")
    shown = list(curves)[:MOST]
    percent = METRICS[name[4:]].percent if name and name[4:] in METRICS else False
    scale, unit = (100, " %") if percent else (1, "")
    figure, axes = panels(shown, _PANEL, "epoch", f"validation {short(str(name)[4:])}{unit}")
    bases = {row.label: curves.get(row.difference_from or "") for row in board.rows}
    low, high = _range(list(curves.values()))
    for panel, label in zip(axes, shown, strict=True):
        band, base = curves[label], bases[label]
        epochs, means = list(band), [scale * mean for mean, _ in band.values()]
        deviations = [scale * deviation for _, deviation in band.values()]
        panel.fill_between(
            list(low), [scale * v for v in low.values()], [scale * v for v in high.values()], color="0.93", linewidth=0
        )
        if base is not None:
            panel.plot(
                list(base), [scale * mean for mean, _ in base.values()], color=INK, linestyle="--", linewidth=0.8
            )
        below, above = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
        panel.fill_between(epochs, below, above, color=BLUE, alpha=0.25, linewidth=0)
        panel.plot(epochs, means, color=BLUE)
    dashed = "; dashed: the mean of the row that it is compared with" if any(bases.values()) else ""
    head(
        figure,
        short(board.title, TITLE),
        f"mean over seeds ± one standard deviation (blue){dashed}; grey: the range of all rows' means"
        f"{best_of(len(shown), len(curves))}",
    )
    return figure


def bands(runs: Sequence[Record], name: str) -> Band:
    """The mean and the standard deviation over runs of one column of their histories, at each epoch that any has."""
    values: dict[float, list[float]] = {}
    for run in runs:
        for place, row in enumerate(run.history):
            value, epoch = row.get(name), row.get("epoch")
            if value is not None:
                values.setdefault(float(place) if epoch is None else epoch, []).append(value)
    found = {epoch: mean_interval(values[epoch]) for epoch in sorted(values)}
    return {epoch: (each.mean, each.std or 0.0) for epoch, each in found.items() if each is not None}


def _what(board: Leaderboard, runs: Sequence[Record]) -> str | None:
    """The column to show: of the board's metric, or of what every history has."""
    known = {name for run in runs for row in run.history[:1] for name in row}
    return next((name for name in (f"val_{board.metric}", *_PREFERRED) if name in known), None)


def _range(curves: Sequence[Band]) -> tuple[dict[float, float], dict[float, float]]:
    """The least and the greatest mean at each epoch."""
    low: dict[float, float] = {}
    high: dict[float, float] = {}
    for epoch in sorted({epoch for band in curves for epoch in band}):
        means = [band[epoch][0] for band in curves if epoch in band]
        low[epoch], high[epoch] = min(means), max(means)
    return low, high
