"""`kdbench report`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.collector import without_collector
from kdbench.errors import RecordError, UsageError
from kdbench.durable import reason, replace_file
from kdbench.errors import RecordError, UnknownName, UsageError
from kdbench.expression import compile_expression
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
    catalog: Catalog,
    *,
    directory: Path,
    form: str,
    metric: str | None,
    expression: str | None,
    output: Path | None,
    show: bool,
    warn: Callable[[str], None],
) -> str | None:
    """The leaderboards of a results directory, or None where they were written to a file; damaged records are told."""
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
    check_format(form, catalog)
    if show and form != "html":
        raise UsageError(f"--open opens the page, not format {form!r}", fix="add --format html")
    summaries = read_summaries(directory, warn)
    if expression is not None:
        summaries = _matching(summaries, expression)
    boards = leaderboards(summaries, metric=metric, lower_is_better=lower_is_better(catalog))
    terminal = sys.stdout.isatty()
    if output is None and form == "html" and (terminal or show):
        output = directory / "report.html"
    text = render(
        boards, form, color=terminal and output is None, catalog=catalog, summaries=summaries,
        store=Store.open(directory, create=False),
    )  # fmt: skip
    if output is None:
        return text.rstrip("\n")
    _write(output, text)
    warn(f"written: {output} ({len(text.encode()) / 1e6:.1f} MB)")
    if show:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())
    return None


def _matching(summaries: list[Summary], expression: str) -> list[Summary]:
    """The runs of the combos that the expression matches."""
    matches = compile_expression(expression)
    found = [summary for summary in summaries if matches(summary.combo)]
    if summaries and not found:
        raise UnknownName(f"no run's combo matches -k {expression!r}", fix="kdbench report shows all there are")
    return found


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode(), path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be written", reason(error), "choose another file with --output") from error


def read_summaries(directory: Path, warn: Callable[[str], None]) -> list[Summary]:
    """The runs of a results directory; damaged records are told and left out. Raises: StoreError."""
    problems: list[RecordError] = []
    summaries = Store.open(directory, create=False).summaries(problems=problems)
    for problem in problems:
        warn(f"warning: {problem}")
    return summaries
