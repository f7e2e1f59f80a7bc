"""`kdbench report`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.collector import without_collector
from kdbench.commands.delivery import HTML, Delivery, boards_of
from kdbench.errors import RecordError, UnknownName, UsageError
from kdbench.expression import compile_expression
from kdbench.records import Summary
from kdbench.report.leaderboard import Leaderboard
from kdbench.store import Store


def report_command(
    catalog: Catalog,
    *,
    directory: Path,
    form: str | None,
    metric: str | None,
    expression: str | None,
    output: Path | None,
    show: bool,
    timings: tuple[Path, ...],
    warn: Callable[[str], None],
    plots: Path | None = None,
) -> None:
    """Print the leaderboards of a results directory, or write them to a file; damaged records are told.

    With `plots` they are drawn too, into that folder.

    Raises: UsageError for a format that is not there, bytes asked for on a terminal, a file or folder that cannot be
    written, timings that are none, or plots without matplotlib.
    """
    from kdbench.report.page.timing_view import read_timing_files

    form = form or "table"
    delivery = Delivery.settle(form, directory, catalog, output=output, show=show)
    if show and form != HTML:
        raise UsageError(f"--open opens the page, not format {form!r}", fix="add --format html")
    if timings and form != HTML:
        raise UsageError(f"--timings are shown on the page, not in format {form!r}", fix="add --format html")
    files = read_timing_files(timings)
    if plots is not None and find_spec("matplotlib") is None:
        raise UsageError("--plots needs matplotlib, which is not installed", fix="pip install 'kdbench[plots]'")
    with without_collector():
        summaries = read_summaries(directory, warn)
        if expression is not None:
            summaries = _matching(summaries, expression)
        boards = boards_of(summaries, catalog, metric)
        delivery.deliver(boards, summaries, Store.open(directory, create=False), warn, timings=files)
    if plots is not None:
        _write_plots(boards, summaries, directory, plots, warn)
    if show and delivery.file is not None:
        import webbrowser

        webbrowser.open(delivery.file.resolve().as_uri())


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


def read_summaries(directory: Path, warn: Callable[[str], None]) -> list[Summary]:
    """The runs of a results directory; damaged records are told and left out. Raises: StoreError."""
    problems: list[RecordError] = []
    summaries = Store.open(directory, create=False).summaries(problems=problems)
    for problem in problems:
        warn(f"warning: {problem}")
    return summaries
