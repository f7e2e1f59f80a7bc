"""What the comparison across datasets says, for the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.report.across import Across, Standing
from kdbench.report.cells import NOTHING, Column, one_line


def across_title(compared: Across) -> str:
    """`Across 7 datasets`, with the number of pairs where it is another."""
    pairs = f" ({len(compared.boards)} pairs)" if len(compared.boards) != compared.datasets else ""
    return f"Across {compared.datasets} dataset{'s' * (compared.datasets > 1)}{pairs}"


def across_headline(compared: Across) -> str:
    """What is compared and what the test says, in one line."""
    what = f"{len(compared.standings)} methods by mean {compared.metric}"
    if compared.friedman is None or compared.p_value is None:
        return one_line(what)
    test = f"Friedman χ² = {compared.friedman:.2f}, p = {compared.p_value:.3g}"
    distance = compared.critical_difference
    apart = "" if distance is None else f"; average ranks differ at 5% from {distance:.2f} on (Nemenyi)"
    return one_line(f"{what}; {test}{apart}")


def across_columns(compared: Across) -> list[Column]:
    """The method, its average rank, wins against the baseline, and the share of the gap that it recovers."""
    standings, versus = compared.standings, f"wins–ties–losses vs {one_line(compared.baseline)}"
    found = [
        Column("method", "method", [one_line(s.method) for s in standings], 0, left=True),
        Column("average_rank", "average rank", [f"{s.average_rank:.2f}" for s in standings], 0),
        Column("wins", versus, [_versus(compared, s) for s in standings], 1),
        Column("gap_recovered", "gap recovered (95% CI)", [_gap(s) for s in standings], 2),
    ]
    return [column for column in found if any(cell != NOTHING for cell in column.cells)]


def across_remarks(compared: Across) -> Iterator[str]:
    """What limits the comparison."""
    if compared.too_few:
        yield compared.too_few
    yield from compared.notes


def _versus(compared: Across, standing: Standing) -> str:
    if standing.method == compared.baseline or not standing.wins + standing.ties + standing.losses:
        return NOTHING
    return f"{standing.wins}–{standing.ties}–{standing.losses}"


def _gap(standing: Standing) -> str:
    if standing.gap_recovered is None:
        return NOTHING
    half = standing.gap_half_width
    ends = "" if half is None else f" [{standing.gap_recovered - half:.0%}, {standing.gap_recovered + half:.0%}]"
    return f"{standing.gap_recovered:.0%}{ends} of {standing.gap_boards}"
