"""Where the leaderboards of `kdbench run` and `kdbench report` go: text to stdout, a page or bytes to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from kdbench.catalog import Catalog
from kdbench.durable import reason, replace_file
from kdbench.errors import UsageError
from kdbench.metric_info import lower_is_better
from kdbench.plan import NotRun
from kdbench.records import Summary
from kdbench.report.baselines import declared_twins
from kdbench.report.formats import check_format, render, render_html
from kdbench.report.leaderboard import Leaderboard, leaderboards
from kdbench.report.page.timing_view import TimingFile
from kdbench.report.parquet import check_parquet, render_parquet
from kdbench.store import Store

PARQUET, HTML = "parquet", "html"
"""The format that is not text; the one that is for a browser."""


def boards_of(summaries: Sequence[Summary], catalog: Catalog, metric: str | None) -> list[Leaderboard]:
    """`leaderboards`, with what plugins declare of their metrics and methods. Raises: UnknownName."""
    return leaderboards(
        summaries, metric=metric, lower_is_better=lower_is_better(catalog), twins=declared_twins(catalog)
    )


@dataclass(frozen=True)
class Delivery:
    """A format and where it goes: a file, or stdout where there is none; settled before anything is read or run."""

    form: str
    directory: Path
    file: Path | None
    catalog: Catalog

    @classmethod
    def settle(
        cls, form: str, directory: Path, catalog: Catalog, *, output: Path | None = None, show: bool = False
    ) -> Delivery:
        """A page that is not redirected, or is to be opened, goes to DIR/report.html.

        Args:
            form: one of the formats of `kdbench.report.formats`, of a plugin's, or parquet.
            directory: the results directory.
            output: the file that was asked for.
            show: whether it is to be opened in a browser.

        Raises: UsageError for a format that is not there or cannot be made, or bytes asked for on a terminal.
        """
        terminal = sys.stdout.isatty() and output is None
        if form == PARQUET:
            if terminal:
                raise UsageError(
                    "the format parquet is not for a terminal",
                    fix=f"write it to a file: kdbench report {directory} --format parquet --output FILE.parquet",
                )
            check_parquet()
        else:
            check_format(form, catalog)
        if form == HTML and output is None and (terminal or show):
            output = directory / "report.html"
        return cls(form, directory, output, catalog)

    def deliver(
        self,
        boards: Sequence[Leaderboard],
        summaries: Sequence[Summary],
        store: Store,
        warn: Callable[[str], None],
        *,
        not_run: Sequence[NotRun] = (),
        timings: Sequence[TimingFile] = (),
    ) -> None:
        """Render the boards and write or print them; what was written is told.

        Args:
            boards: what to show.
            summaries: the runs that they were made from.
            store: where these are.
            warn: is told.
            not_run: what was selected and did not run.
            timings: of kernels, for the page.

        Raises: UsageError where the file cannot be written.
        """
        content = self._rendered(boards, summaries, store, not_run, timings)
        if self.file is None:
            click.echo(content if isinstance(content, bytes) else content.rstrip("\n"), nl=isinstance(content, str))
            return
        written = content if isinstance(content, bytes) else content.encode()
        try:
            replace_file(self.file, written, self.file.parent)
        except OSError as error:
            raise UsageError(
                f"{self.file} cannot be written", reason(error),
                f"choose another file: kdbench report {self.directory} --format {self.form} --output FILE",
            ) from error  # fmt: skip
        warn(f"written: {self.file} ({len(written) / 1e6:.1f} MB)")

    def _rendered(
        self,
        boards: Sequence[Leaderboard],
        summaries: Sequence[Summary],
        store: Store,
        not_run: Sequence[NotRun],
        timings: Sequence[TimingFile],
    ) -> str | bytes:
        if self.form == PARQUET:
            return render_parquet(boards)
        if self.form == HTML:
            return render_html(boards, self.catalog, summaries, store, timings)
        color = self.file is None and sys.stdout.isatty()
        return render(boards, self.form, color=color, catalog=self.catalog, not_run=not_run)
