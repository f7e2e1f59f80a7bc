"""How every plot looks, and how it becomes bytes: the same ones for the same numbers."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from textwrap import wrap
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kdbench.report.cells import one_line

BLUE, RED, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
"""Told apart with any colour vision (Okabe & Ito, 2008)."""
FAINT, INK = "0.45", "0.15"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", "--", ":", "-.")
LABEL, TITLE = 44, 90
"""Characters of a row's label, and of a title."""
DPI = 150
_CHARACTER = 0.083
"""Inches that a character of the head takes."""
_FONT = "DejaVu Sans"
"""It comes with matplotlib, so that a plot has the same shape on every machine."""
_OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Noto Sans Devanagari",
    "Noto Emoji", "Segoe UI Emoji", "Symbola",
)  # fmt: skip
"""For signs that it lacks, where they are installed."""
_SETTINGS: Any = {
    "font.sans-serif": [_FONT], "font.size": 9.0, "axes.titlesize": 10.0, "axes.labelsize": 9.0,
    "axes.titlelocation": "left", "figure.titlesize": 11.0, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": FAINT, "axes.axisbelow": True, "grid.color": "0.9", "grid.linewidth": 0.6, "xtick.color": INK,
    "ytick.color": INK, "legend.frameon": False, "legend.fontsize": 8.0, "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True, "text.parse_math": False, "axes.unicode_minus": True,
    "svg.hashsalt": "kdbench", "svg.fonttype": "none", "path.simplify": False,
}  # fmt: skip


@contextmanager
def styled(texts: Iterable[str]) -> Iterator[None]:
    """Draw in kdbench's style, whatever the user's own settings; `texts` are names that the plots will show."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        matplotlib.rcParams["font.family"] = ["sans-serif", *_fonts_for(texts)]
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # told once, by `not_drawn`
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches, without pyplot, which would keep it."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure) -> dict[str, bytes]:
    """The figure as PNG at 150 dots an inch, and as SVG with its text as text: the same bytes for the same figure."""
    picture, drawing = io.BytesIO(), io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    figure.set_layout_engine("none")  # as it was laid out for the PNG: that takes most of the time
    head = figure.get_suptitle()
    metadata = {"Date": None, "Creator": None} | ({"Title": head} if head else {})
    figure.savefig(drawing, format="svg", metadata=metadata)
    return {"png": picture.getvalue(), "svg": drawing.getvalue()}


def head(figure: Figure, *lines: str) -> None:
    """Lines above the figure from its left edge, each broken where it is wider: what is shown, how to read it."""
    most = int(figure.get_figwidth() / _CHARACTER)
    broken = [part for line in lines if line for part in wrap(one_line(line), most, break_on_hyphens=False)]
    figure.suptitle("\n".join(broken), x=0.01, ha="left", fontsize=9.5)


def short(text: str, most: int = LABEL) -> str:
    """The text on one line, of at most so many characters."""
    line = one_line(text)
    return line if len(line) <= most else line[: most - 1] + "…"


def labels(names: Sequence[str], most: int = LABEL) -> list[str]:
    """Labels of at most so many characters, all different: those that cutting made equal are numbered."""
    found: list[str] = []
    times: dict[str, int] = {}
    for name in (short(name, most) for name in names):
        times[name] = times.get(name, 0) + 1
        found.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return found


def not_drawn(texts: Iterable[str]) -> str:
    """The signs of these texts that no installed font has, each once; the SVG has them as text all the same."""
    signs = _lacking(texts)
    for family in _fonts_for(signs):
        signs -= _signs_of(family)
    return "".join(sorted(signs))


def _fonts_for(texts: Iterable[str]) -> list[str]:
    """Installed fonts with signs that the usual one lacks; none where it has them all."""
    missing, found = _lacking(texts), []
    for family in _OTHER_FONTS:
        if missing and family in _installed() and (has := _signs_of(family) & missing):
            found.append(family)
            missing -= has
    return found


def _lacking(texts: Iterable[str]) -> set[str]:
    signs = {sign for text in texts for sign in one_line(text)}
    return {sign for sign in signs if not sign.isascii()} - _signs_of(_FONT)


@cache
def _installed() -> frozenset[str]:
    from matplotlib.font_manager import fontManager

    return frozenset(entry.name for entry in fontManager.ttflist)


@cache
def _signs_of(family: str) -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(map(chr, get_font(findfont(FontProperties(family=[family]))).get_charmap()))


def slug(text: str, most: int) -> str:
    """Letters and digits of a name that every file system takes; what else there is becomes one hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:most].strip("-")
