"""A comparison of two sets of results as a table for a terminal."""

from __future__ import annotations

import io
from itertools import groupby

from kdbench.metric_info import metric_format
from kdbench.report.cells import NOTHING, one_line
from kdbench.report.comparison import Change, Comparison
from kdbench.report.console import text_console, written

_STYLES = {"better": "bold green", "worse": "bold red", "new": "cyan", "gone": "cyan", "unclear": "yellow"}
_COLUMNS = ("row", "verdict", "A", "B", "B - A (95% CI)", "pairs", "infer B/A", "train B/A")


def render_comparison(comparison: Comparison, *, width: int | None = None, color: bool = False) -> str:
    """One table for each pair of models, the counts of verdicts, and what differs in the conditions.

    Args:
        comparison: what to show.
        width: columns of the terminal; asked of it where None.
        color: use ANSI colours.
    """
    from rich.text import Text

    output = io.StringIO()
    console = text_console(output, width, color=color)
    for board, changes in groupby(comparison.changes, key=lambda change: change.board):
        console.print(Text(one_line(board), style="bold"))
        console.print(_table(list(changes), comparison.metric))
        console.print()
    for name, (a, b) in comparison.provenance.items():
        console.print(Text(one_line(f"{name}: A {'; '.join(a) or NOTHING}, B {'; '.join(b) or NOTHING}")))
    console.print(Text(_counts(comparison)))
    return written(output)


def _table(changes: list[Change], metric: str) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for name in _COLUMNS:
        text = name in _COLUMNS[:2]
        table.add_column(Text(name), justify="left" if text else "right", no_wrap=not text, overflow="fold")
    show, signed = metric_format(metric), metric_format(metric, signed=True)
    for change in changes:
        verdict = f"{change.verdict}: {change.why}" if change.why else change.verdict
        difference = NOTHING
        if change.difference is not None:
            difference = signed(change.difference)
            if change.half_width is not None:
                low, high = change.difference - change.half_width, change.difference + change.half_width
                difference += f" [{signed(low)}, {signed(high)}]"
        table.add_row(
            Text(one_line(change.label)),
            Text(one_line(verdict), style=_STYLES.get(change.verdict, "")),
            NOTHING if change.a is None else show(change.a),
            NOTHING if change.b is None else show(change.b),
            Text(difference),
            str(change.pairs),
            _ratio(change.inference_ratio),
            _ratio(change.train_ratio),
        )
    return table


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}x"


def _counts(comparison: Comparison) -> str:
    verdicts = [change.verdict for change in comparison.changes]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    return (
        f"{comparison.metric}: {counts or 'no rows'}. Each verdict is a 95% interval by itself, paired by seed: of the "
        "rows that did not change, one in 20 is called better or worse by chance. Speeds: medians, without a verdict."
    )
