"""`kdbench report`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.errors import RecordError
from kdbench.records import Summary
from kdbench.store import Store


def report_command(
    catalog: Catalog, directory: Path, *, form: str, metric: str | None, warn: Callable[[str], None]
) -> str:
    """The leaderboards of a results directory; damaged records are told and left out."""
    from kdbench.metric_info import lower_is_better
    from kdbench.report.formats import check_format, render
    from kdbench.report.leaderboard import leaderboards

    check_format(form, catalog)
    boards = leaderboards(read_summaries(directory, warn), metric=metric, lower_is_better=lower_is_better(catalog))
    return render(boards, form, color=sys.stdout.isatty(), catalog=catalog).rstrip("\n")


def read_summaries(directory: Path, warn: Callable[[str], None]) -> list[Summary]:
    """The runs of a results directory; damaged records are told and left out. Raises: StoreError."""
    problems: list[RecordError] = []
    summaries = Store.open(directory, create=False).summaries(problems=problems)
    for problem in problems:
        warn(f"warning: {problem}")
    return summaries
