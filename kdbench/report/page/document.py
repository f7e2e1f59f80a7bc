"""The page as one HTML document that allows itself its own script and style, and nothing else."""

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
<noscript><p>This page needs JavaScript, which stays in the page: nothing is fetched. Without it:
kdbench report DIR --format md.</p></noscript></div>
<script type="application/json" id="overview">{overview}</script>
<script type="application/json" id="details">{details}</script>
<script type="text/plain" id="licences">{licences}</script>
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
) -> str:
    """The runs as an HTML page that needs no network.

    Args:
        summaries: the runs that the boards were made from.
        boards: `leaderboards(summaries)`.
        store: where the runs' histories and predictions are; None leaves their curves out.
        families: of methods by name.
        lower_is_better: metrics of plugins for which a smaller value is better.
    """
    found = overview(summaries, boards, families=families, lower_is_better=lower_is_better)
    chunks = list(details(store, found.run_ids, found.baselines)) if store is not None else []
    content = found.content | {
        "about": {
            "version": __version__,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "directory": str(store.directory) if store is not None else "",
        }
    }
    style, script, licences = (
        files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js", "page.licences.txt")
    )
    return _DOCUMENT.format(
        policy=_policy(style, script),
        style=style,
        script=script,
        licences=licences,
        overview=_data(packed(content)),
        details=_data(chunks),
    )


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(value: Any) -> str:
    """JSON that cannot end its script element: it holds base64 alone, and `<` would be escaped."""
    import msgspec

    return msgspec.json.encode(value).decode().replace("<", "\\u003c")
