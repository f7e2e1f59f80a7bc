"""`kdbench compare A B`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from kdbench.catalog import Catalog
from kdbench.commands.report import read_summaries
from kdbench.metric_info import lower_is_better


def compare_command(
    catalog: Catalog, a: Path, b: Path, *, metric: str | None, as_json: bool, warn: Callable[[str], None]
) -> tuple[str, bool]:
    """What changed from the results in A to those in B, and whether anything is worse."""
    from kdbench.report.comparison import compare
    from kdbench.report.comparison_table import render_comparison

    found = compare(read_summaries(a, warn), read_summaries(b, warn), metric, lower_is_better=lower_is_better(catalog))
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    else:
        text = render_comparison(found, color=sys.stdout.isatty())
    return text.rstrip("\n"), found.regressed
