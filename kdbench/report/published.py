"""Where the figures of papers beside a leaderboard's rows come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdbench.report.rows import Row


def published_notes(rows: Sequence[Row], show: Callable[[float], str]) -> list[str]:
    """One note for each source and protocol, with the rows it is of; `show` writes a value of the metric."""
    labels: dict[tuple[str, str, float | None], list[str]] = {}
    for row in rows:
        if row.published is not None:
            origin = (row.published_source or "", row.published_protocol or "", row.published_teacher)
            labels.setdefault(origin, []).append(row.label)
    notes = []
    for (source, protocol, teacher), names in labels.items():
        theirs = f"; their teacher has {show(teacher)}" if teacher is not None else ""
        notes.append(f"Δ to paper of {', '.join(sorted(names))}: {source}; {protocol}{theirs}")
    return notes
