"""`kdbench compare A B`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from kdbench.catalog import Catalog
from kdbench.commands.report import read_summaries
from kdbench.errors import UsageError
from kdbench.metric_info import lower_is_better


def compare_command(
    catalog: Catalog, a: Path, b: Path, *, metric: str | None, as_json: bool, warn: Callable[[str], None]
) -> tuple[str, bool]:
    """What changed from A to B, results directories or files of pytest-benchmark, and whether anything is worse."""
    if a.is_file() or b.is_file():
        return _compare_timings(a, b, metric, as_json)
    from kdbench.report.comparison import compare
    from kdbench.report.comparison_table import render_comparison

    found = compare(read_summaries(a, warn), read_summaries(b, warn), metric, lower_is_better=lower_is_better(catalog))
    text = _json(found) if as_json else render_comparison(found, color=sys.stdout.isatty())
    return text.rstrip("\n"), found.regressed


def _compare_timings(a: Path, b: Path, metric: str | None, as_json: bool) -> tuple[str, bool]:
    from kdbench.report.timing_table import render_timings
    from kdbench.report.timings import compare_timings, read_timings

    if directory := next((path for path in (a, b) if path.is_dir()), None):
        raise UsageError(
            f"{a} and {b} cannot be compared", f"{directory} is a directory, the other is a file",
            "give two results directories, or two files of pytest --benchmark-json",
        )  # fmt: skip
    if metric is not None:
        raise UsageError(f"--metric {metric}: timings have no metrics", fix="leave it out")
    found = compare_timings(read_timings(a), read_timings(b))
    return (_json(found) if as_json else render_timings(found, color=sys.stdout.isatty())).rstrip("\n"), found.regressed


def _json(found: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
