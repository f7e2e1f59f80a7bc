"""`kdbench report --watch`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kdbench.catalog import Catalog
from kdbench.commands.delivery import HTML
from kdbench.commands.execution import terminable
from kdbench.errors import UsageError
from kdbench.expression import compile_expression
from kdbench.metric_info import lower_is_better
from kdbench.report.baselines import declared_twins
from kdbench.report.live.following import FollowedStore, FollowedTimings
from kdbench.report.live.server import PageServer
from kdbench.report.live.snapshots import Shown, Snapshots
from kdbench.report.page.overview import method_families
from kdbench.store import Store


def watch_command(
    catalog: Catalog,
    *,
    directory: Path,
    form: str | None,
    metric: str | None,
    expression: str | None,
    output: Path | None,
    show: bool,
    timings: tuple[Path, ...],
    plots: Path | None,
    port: int | None,
    warn: Callable[[str], None],
) -> None:
    """Serve the page of a results directory, which may not be there yet, until an interrupt or SIGTERM.

    Raises: UsageError for what does not go with it, or a port that cannot be had; StoreError for a directory of
    something else.
    """
    if form not in {None, HTML} or output is not None or plots is not None:
        other = "--output" if output is not None else "--plots" if plots is not None else f"--format {form}"
        raise UsageError(
            f"--watch serves the page, which does not go with {other}", fix=f"leave {other} out, or leave --watch out"
        )
    shown = Shown(
        metric=metric,
        expression=expression or "",
        chosen=compile_expression(expression) if expression is not None else lambda _: True,
        families=method_families(catalog),
        lower_is_better=lower_is_better(catalog),
        twins=declared_twins(catalog),
    )
    followed = FollowedTimings(timings)
    awaited = Store.awaited(directory)
    if not awaited:
        Store.open(directory, create=False)
    server = PageServer(Snapshots(FollowedStore(directory), followed, shown, warn), port or 0)
    try:
        with terminable():
            warn(f"the page of {directory}: {server.url} (Ctrl-C ends it)")
            if awaited:
                warn(f"{directory} holds no run yet: the page waits for the first")
            if show:
                import webbrowser

                webbrowser.open(server.url)
            server.serve_forever()
    except KeyboardInterrupt:
        warn("the page is served no longer")
    finally:
        server.farewell()
