"""Leaderboards as text, in a format chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.errors import PluginError, UnknownName
from kdbench.names import did_you_mean
from kdbench.plugins import describe
from kdbench.report.leaderboard import Leaderboard

if TYPE_CHECKING:
    from kdbench.catalog import Catalog, Entry
    from kdbench.plan import NotRun
    from kdbench.records import Summary
    from kdbench.report.page.timing_view import TimingFile
    from kdbench.store import Store

FORMATS = ("table", "md", "csv", "json", "latex", "html")
"""The built-in ones; a plugin's format of the same name is not reached."""


def render(
    boards: Sequence[Leaderboard],
    format: str = "table",
    *,
    width: int | None = None,
    color: bool = False,
    catalog: Catalog | None = None,
    not_run: Sequence[NotRun] = (),
    summaries: Sequence[Summary] = (),
    store: Store | None = None,
) -> str:
    """The boards as text that ends with a newline.

    Args:
        boards: what to show.
        format: one of `FORMATS`, or a report format that a plugin registered.
        width, color: for "table": the columns of the terminal (asked of it where None), and whether to use colours.
        catalog: where the formats of plugins are looked up.
        not_run: what was selected and did not run; "csv", "latex", "html" and the formats of plugins leave it out.
        summaries: for "html": the runs that the boards were made from.
        store: for "html": where the histories and predictions of these runs are.

    Raises: UnknownName for a format that is not there; PluginError where a plugin's format fails.
    """
    match format:
        case "table":
            from kdbench.report.terminal import render_table

            return render_table(boards, not_run, width=width, color=color)
        case "md":
            from kdbench.report.markdown import render_markdown

            return render_markdown(boards, not_run)
        case "csv":
            from kdbench.report.export import render_csv

            return render_csv(boards)
        case "json":
            from kdbench.report.export import render_json

            return render_json(boards, not_run)
        case "latex":
            from kdbench.report.latex import render_latex

            return render_latex(boards)
        case "html":
            return render_html(boards, catalog, summaries, store)
    return _render_with_plugin(boards, _plugin_format(format, catalog))


def render_html(
    boards: Sequence[Leaderboard],
    catalog: Catalog | None,
    summaries: Sequence[Summary],
    store: Store | None,
    timings: Sequence[TimingFile] = (),
) -> str:
    """The page, with families of methods and directions of metrics from the catalog; arguments as for `render`.

    Args: timings: files of pytest-benchmark that it shows beside the runs.
    """
    from kdbench.metric_info import lower_is_better
    from kdbench.report.page.document import render_page
    from kdbench.report.page.overview import method_families

    if catalog is None:
        return render_page(summaries, boards, store, timings=timings)
    return render_page(
        summaries, boards, store, families=method_families(catalog), lower_is_better=lower_is_better(catalog),
        timings=timings,
    )  # fmt: skip


def check_format(name: str, catalog: Catalog | None) -> None:
    """Raise UnknownName where neither kdbench nor a plugin has the report format."""
    if name not in FORMATS:
        _plugin_format(name, catalog)


def _plugin_format(name: str, catalog: Catalog | None) -> Entry:
    entries = {entry.name: entry for entry in catalog.entries("report_format")} if catalog is not None else {}
    if name not in entries:
        known = [*FORMATS, *entries]
        raise UnknownName(f"unknown report format {name!r}", did_you_mean(name, known), f"known: {', '.join(known)}")
    return entries[name]


def _render_with_plugin(boards: Sequence[Leaderboard], entry: Entry) -> str:
    what = f"report format {entry.name!r} of plugin {entry.plugin!r}"
    try:
        text = entry.load()(boards)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"{what} failed", describe(error), f"block the plugin with -p no:{entry.plugin}") from error
    if not isinstance(text, str):
        raise PluginError(f"{what} returned a {type(text).__name__}", "it must return text")
    return text if text.endswith("\n") else text + "\n"
