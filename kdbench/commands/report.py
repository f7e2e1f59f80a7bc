"""`kdbench report`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.collector import without_collector
from kdbench.durable import reason, replace_file
from kdbench.errors import RecordError, UnknownName, UsageError
from kdbench.expression import compile_expression
from kdbench.records import Summary
from kdbench.report.leaderboard import Leaderboard
from kdbench.store import Store

PARQUET = "parquet"
"""The one format that is not text."""


def report_command(
    catalog: Catalog,
    *,
    directory: Path,
    form: str,
    metric: str | None,
    expression: str | None,
    output: Path | None,
    show: bool,
    warn: Callable[[str], None],
    plots: Path | None = None,
) -> str | bytes | None:
    """The leaderboards of a results directory, or None where they were written to a file; damaged records are told.

    With `plots` they are drawn too, into that folder.

    Raises: UsageError for a format that is not there, bytes asked for on a terminal, a file or folder that cannot be
    written, plots without matplotlib.
    """
    from kdbench.metric_info import lower_is_better
    from kdbench.report.baselines import declared_twins
    from kdbench.report.formats import check_format
    from kdbench.report.leaderboard import leaderboards

    terminal = sys.stdout.isatty() and output is None
    if form != PARQUET:
        check_format(form, catalog)
    elif terminal:
        raise UsageError("the format parquet is not for a terminal", fix="write it to a file: --output FILE.parquet")
    if show and form != "html":
        raise UsageError(f"--open opens the page, not format {form!r}", fix="add --format html")
    if plots is not None and find_spec("matplotlib") is None:
        raise UsageError("--plots needs matplotlib, which is not installed", fix="pip install 'kdbench[plots]'")
    if form == "html" and output is None and (terminal or show):
        output = directory / "report.html"
    with without_collector():
        summaries = read_summaries(directory, warn)
        if expression is not None:
            summaries = _matching(summaries, expression)
        boards = leaderboards(
            summaries, metric=metric, lower_is_better=lower_is_better(catalog), twins=declared_twins(catalog)
        )
        content = _rendered(boards, summaries, directory, form, catalog, color=terminal)
    if plots is not None:
        _write_plots(boards, summaries, directory, plots, warn)
    if output is None:
        return content if isinstance(content, bytes) else content.rstrip("\n")
    written = content if isinstance(content, bytes) else content.encode()
    _write(output, written)
    warn(f"written: {output} ({len(written) / 1e6:.1f} MB)")
    if show:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())
    return None


def _rendered(
    boards: list[Leaderboard], summaries: list[Summary], directory: Path, form: str, catalog: Catalog, *, color: bool
) -> str | bytes:
    if form == PARQUET:
        from kdbench.report.parquet import render_parquet

        return render_parquet(boards)
    from kdbench.report.formats import render

    store = Store.open(directory, create=False)
    return render(boards, form, color=color, catalog=catalog, summaries=summaries, store=store)


def _write_plots(
    boards: list[Leaderboard],
    summaries: list[Summary],
    directory: Path,
    folder: Path,
    warn: Callable[[str], None],
) -> None:
    from kdbench.report.plots.collection import write_plots
    from kdbench.report.tuned_export import read_tuned

    shown = {board.title for board in boards}
    tuned = [board for board in read_tuned(directory) if board.title in shown]
    written = write_plots(boards, summaries, Store.open(directory, create=False), folder, tuned=tuned)
    for why in written.left_out:
        warn(f"no plot of {why}")
    if written.not_drawn:
        warn(f"no installed font has {written.not_drawn!r}: boxes in the PNG files, and text in the SVG files")
    warn(f"written: {len(written.names)} plots to {folder}, each as .png and .svg")


def _matching(summaries: list[Summary], expression: str) -> list[Summary]:
    """The runs of the combos that the expression matches."""
    matches = compile_expression(expression)
    found = [summary for summary in summaries if matches(summary.combo)]
    if summaries and not found:
        raise UnknownName(f"no run's combo matches -k {expression!r}", fix="kdbench report shows all there are")
    return found


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content, path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be written", reason(error), "choose another file with --output") from error


def read_summaries(directory: Path, warn: Callable[[str], None]) -> list[Summary]:
    """The runs of a results directory; damaged records are told and left out. Raises: StoreError."""
    problems: list[RecordError] = []
    summaries = Store.open(directory, create=False).summaries(problems=problems)
    for problem in problems:
        warn(f"warning: {problem}")
    return summaries
