"""ROC, precision-recall and reliability curves of one run of each row, computed as the page's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kdbench.report.leaderboard import Leaderboard
from kdbench.report.page.curves import BINS, CLASSES
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.panels import MOST, best_of, panels
from kdbench.report.plots.style import BLUE, COLORS, DASHES, FAINT, TITLE, head, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (1.6, 1.6)
"""Inches."""
_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
Kind = Literal["roc", "pr"]


@dataclass(frozen=True)
class Answers:
    """What one run's answers give: those of the details that the page shows."""

    seed: int
    curves: list[dict[str, Any]]
    """`one_vs_rest` (kdbench.report.page.curves)."""
    reliability: dict[str, Any] | None
    ece: float | None
    """As its record has it."""


def class_curves(board: Leaderboard, answers: Mapping[str, Answers], kind: Kind) -> Figure:
    """A panel for each row, best first, with a curve for each class against the rest.

    Raises: LeftOut where no row has any.
    """
    having = {label: found for label, found in _ordered(board, answers).items() if found.curves}
    if not having:
        raise LeftOut("no run kept predictions of classes")
    shown = list(having)[:MOST]
    names = ("false positive rate", "true positive rate") if kind == "roc" else ("recall", "precision")
    figure, axes = panels(shown, _PANEL, *names)
    classes = sorted({curve["class"] for label in shown for curve in having[label].curves})
    key: dict[int, Any] = {}
    for panel, label in zip(axes, shown, strict=True):
        if kind == "roc":
            panel.plot([0, 1], [0, 1], color=FAINT, linewidth=0.6, linestyle=":")
        for curve in having[label].curves:
            x, y = (curve["fpr"], curve["tpr"]) if kind == "roc" else (curve["recall"], curve["precision"])
            place = classes.index(curve["class"])
            (key[curve["class"]],) = panel.plot(
                x, y, color=COLORS[place % len(COLORS)], linestyle=DASHES[place // len(COLORS) % len(DASHES)],
                linewidth=1.0,
            )  # fmt: skip
        _square(panel)
        panel.annotate(
            _areas(having[label], kind), (0.97, 0.05), ha="right", fontsize=6.5, linespacing=1.2, bbox=_PAPER
        )
    if len(classes) > 1:
        figure.legend(
            [key[number] for number in classes], [f"class {number}" for number in classes],
            loc="outside lower center", ncols=min(len(key), 5),
        )  # fmt: skip
    what = "ROC" if kind == "roc" else "Precision and recall"
    several = f"each class against the rest (at most {CLASSES}, the largest)"
    rest = f", {several if len(classes) > 1 else f'of class {classes[0]}'}"
    _heading(figure, board, having, f"{what} on the test split{rest}", len(shown))
    return figure


def reliability_diagram(board: Leaderboard, answers: Mapping[str, Answers]) -> Figure:
    """A panel for each row, best first: accuracy by confidence, and the share of items at each confidence.

    Raises: LeftOut where no row has any.
    """
    having = {label: found for label, found in _ordered(board, answers).items() if found.reliability}
    if not having:
        raise LeftOut("no run kept predictions of one class per item")
    shown = list(having)[:MOST]
    figure, axes = panels(shown, _PANEL, "confidence", "accuracy")
    for panel, label in zip(axes, shown, strict=True):
        found = having[label].reliability or {}
        total = sum(found["items"])
        edges = [place / BINS for place in found["bin"]]
        panel.bar(
            edges, [items / total for items in found["items"]], width=1 / BINS, align="edge", color="0.85", linewidth=0
        )
        panel.plot([0, 1], [0, 1], color=FAINT, linewidth=0.6, linestyle=":")
        panel.plot(found["confidence"], found["accuracy"], color=BLUE, marker="o", markersize=2.5, linewidth=1.0)
        _square(panel)
        ece = having[label].ece
        if ece is not None:
            panel.annotate(f"ECE {ece:.4f}", (0.03, 0.92), fontsize=6.5, bbox=_PAPER)
    _heading(
        figure, board, having, f"Reliability on the test split in {BINS} bins; grey: share of the items", len(shown)
    )
    return figure


def _ordered(board: Leaderboard, answers: Mapping[str, Answers]) -> dict[str, Answers]:
    return {row.label: answers[row.label] for row in board.rows if row.label in answers}


def _square(panel: Axes) -> None:
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(-0.02, 1.04)
    panel.set_xticks([0, 0.5, 1])
    panel.set_yticks([0, 0.5, 1])


def _areas(found: Answers, kind: Kind) -> str:
    """`AUC 0.9731`, with the interval where it is of one class alone, or the range over the classes."""
    name, field = ("AUC", "auc") if kind == "roc" else ("AP", "ap")
    values = [curve[field] for curve in found.curves]
    if len(values) > 1:
        return f"{name}, classes\n{min(values):.4f} to {max(values):.4f}"
    (curve,) = found.curves
    if kind == "roc" and curve["low"] is not None:
        return f"{name} {values[0]:.4f}\n[{curve['low']:.4f}, {curve['high']:.4f}]"
    return f"{name} {values[0]:.4f}"


def _heading(figure: Figure, board: Leaderboard, having: Mapping[str, Answers], what: str, shown: int) -> None:
    seeds = sorted({found.seed for found in having.values()})
    one = f"seed {seeds[0]}" if len(seeds) == 1 else "the first seed of each row"
    of = best_of(shown, len(having))
    head(figure, short(board.title, TITLE), what, f"of one run each ({one}), no mean over seeds{of}")
