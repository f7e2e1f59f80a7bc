"""A comparison of timings as a table for a terminal."""

from __future__ import annotations

import io

from kdbench.report.cells import NOTHING, one_line
from kdbench.report.console import text_console, written
from kdbench.report.timings import TimingComparison

_STYLES = {"faster": "bold green", "slower": "bold red", "new": "cyan", "gone": "cyan"}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def render_timings(comparison: TimingComparison, *, width: int | None = None, color: bool = False) -> str:
    """One row a benchmark, then what differs in the conditions, and the counts of verdicts.

    Args:
        comparison: what to show.
        width: columns of the terminal; asked of it where None.
        color: use ANSI colours.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    output = io.StringIO()
    console = text_console(output, width, color=color)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for name in ("benchmark", "verdict", "A", "B", "B/A"):
        table.add_column(name, justify="left" if name in {"benchmark", "verdict"} else "right", overflow="fold")
    for change in comparison.changes:
        table.add_row(
            Text(one_line(change.name)),
            Text(change.verdict, style=_STYLES.get(change.verdict, "")),
            seconds(change.a),
            seconds(change.b),
            NOTHING if change.ratio is None else f"{change.ratio:.2f}x",
        )
    console.print(table)
    for name, (a, b) in comparison.provenance.items():
        console.print(Text(one_line(f"{name}: A {a or NOTHING}, B {b or NOTHING}")))
    verdicts = [change.verdict for change in comparison.changes]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    console.print(
        Text(
            f"{counts or 'no benchmarks'}. Medians of the rounds; faster or slower where the middle halves of the "
            "rounds do not overlap and the medians are more than 5% apart."
        )
    )
    return written(output)


def seconds(value: float | None) -> str:
    """A time in the unit that reads best: `137.4 µs`."""
    if value is None:
        return NOTHING
    size, unit = next(((size, unit) for size, unit in _UNITS if value >= size), _UNITS[-1])
    return f"{value / size:.1f} {unit}"
