"""`kdbench report`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.collector import without_collector
from kdbench.errors import RecordError, UsageError
from kdbench.records import Summary
from kdbench.store import Store

PARQUET = "parquet"
"""The one format that is not text."""


def report_command(
    catalog: Catalog, directory: Path, *, form: str, metric: str | None, warn: Callable[[str], None]
) -> str | bytes:
    """The leaderboards of a results directory; damaged records are told and left out.

    Raises: UsageError for a format that is not there, or bytes asked for on a terminal.
    """
    from kdbench.metric_info import lower_is_better
    from kdbench.report.formats import check_format, render
    from kdbench.report.leaderboard import leaderboards

    if form != PARQUET:
        check_format(form, catalog)
    elif sys.stdout.isatty():
        raise UsageError(
            "the format parquet is not for a terminal",
            fix=f"kdbench report {directory} --format parquet > FILE.parquet",
        )
    with without_collector():
        boards = leaderboards(read_summaries(directory, warn), metric=metric, lower_is_better=lower_is_better(catalog))
        if form == PARQUET:
            from kdbench.report.parquet import render_parquet

            return render_parquet(boards)
        return render(boards, form, color=sys.stdout.isatty(), catalog=catalog).rstrip("\n")


def read_summaries(directory: Path, warn: Callable[[str], None]) -> list[Summary]:
    """The runs of a results directory; damaged records are told and left out. Raises: StoreError."""
    problems: list[RecordError] = []
    summaries = Store.open(directory, create=False).summaries(problems=problems)
    for problem in problems:
        warn(f"warning: {problem}")
    return summaries
