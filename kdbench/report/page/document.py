"""The page as an HTML document: a file that holds everything, or one that asks its own server for the runs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from kdbench.records import Summary
from kdbench.report.leaderboard import Leaderboard
from kdbench.report.page.details import details
from kdbench.report.page.overview import overview
from kdbench.report.page.packing import packed
from kdbench.report.page.timing_view import TimingFile, timing_view
from kdbench.version import __version__

if TYPE_CHECKING:
    from kdbench.store import Store

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>kdbench leaderboards</title>
<style>{style}</style>
</head>
<body>
<div id="page"><p class="loading">Reading the runs …</p>
<noscript><p>This page needs JavaScript, which stays in the page: nothing is fetched from elsewhere. Without it:
kdbench report DIR --format md.</p></noscript></div>
{content}<script type="text/plain" id="licences">{licences}</script>
<script>{script}</script>
</body>
</html>
"""


def render_page(
    summaries: Sequence[Summary],
    boards: Sequence[Leaderboard],
    store: Store | None,
    *,
    families: Mapping[str, str] = {},
    lower_is_better: Collection[str] = (),
    timings: Sequence[TimingFile] = (),
) -> str:
    """The runs as an HTML page that needs no network.

    Args:
        summaries: the runs that the boards were made from.
        boards: `leaderboards(summaries)`.
        store: where the runs' histories and predictions are; None leaves their curves out.
        families: of methods by name.
        lower_is_better: metrics of plugins for which a smaller value is better.
        timings: at most two files of pytest-benchmark, for a view of their own.
    """
    found = overview(summaries, boards, families=families, lower_is_better=lower_is_better)
    chunks = list(details(store, found.run_ids, found.baselines)) if store is not None else []
    directory = str(store.directory) if store is not None else ""
    content = found.content | {"about": about(directory) | {"made": now()}, "timings": timing_view(timings)}
    return _document(_block("overview", packed(content)) + _block("details", chunks))[0]


def render_live_page() -> tuple[str, str]:
    """The page without runs, which it asks the server that it came from for, and its Content-Security-Policy."""
    return _document(_block("live", True), "connect-src 'self'; ")


def about(directory: str) -> dict[str, str]:
    """What made the page, and from where."""
    return {"version": __version__, "directory": directory}


def now() -> str:
    """The moment of the call in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _document(content: str, network: str = "") -> tuple[str, str]:
    style, script, licences = (
        files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js", "page.licences.txt")
    )
    policy = _policy(style, script, network)
    return _DOCUMENT.format(policy=policy, style=style, script=script, licences=licences, content=content), policy


def _policy(style: str, script: str, network: str) -> str:
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; {network}"
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _block(name: str, value: Any) -> str:
    """JSON for the script to read, which cannot end its element: `<` is escaped."""
    import msgspec

    text = msgspec.json.encode(value).decode().replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>\n'
