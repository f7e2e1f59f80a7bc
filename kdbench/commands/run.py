"""`kdbench run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from kdbench.commands.delivery import Delivery, boards_of
from kdbench.commands.execution import check_metric, make_execution, make_repeats, terminable
from kdbench.job import HookedEvents, carry_out, remaining, with_data
from kdbench.kernel_build.prepare import prepare_kernels
from kdbench.plan import NotRun, Plan, Run, make_plan
from kdbench.plugins import Plugins
from kdbench.progress import progress
from kdbench.records import Summary
from kdbench.select import Selection
from kdbench.store import Store


def run_command(
    plugins: Plugins,
    *,
    warn: Callable[[str], None],
    names: tuple[str, ...],
    everything: bool,
    expression: str | None,
    suite: str | None,
    seeds: int,
    seed: tuple[int, ...],
    folds: int | None,
    settings: tuple[str, ...],
    measures: tuple[str, ...],
    out: Path,
    resume: bool,
    executor: str,
    workers: int | None,
    device: str,
    devices: int,
    deterministic: bool | None,
    max_time: float | None,
    dry_run: bool,
    metric: str | None,
    form: str,
    **axes: tuple[str, ...],
) -> int:
    """Plan, execute what is not done, print the leaderboard; the exit code."""
    catalog = plugins.catalog
    repeats = make_repeats(seed or tuple(range(seeds)), device, devices, deterministic, folds, measures)
    selection = Selection(all=everything, names=names, expression=expression, suite=suite, **axes)
    plan = make_plan(catalog, selection, settings, repeats)
    execute = catalog.find("executor", executor).load()
    delivery = Delivery.settle(form, out, catalog)
    check_metric(plugins, metric, {name for run in plan.runs for name in run.measures})
    execution = make_execution(plugins, out, repeats, workers=workers, max_time=max_time)
    if dry_run:
        from kdbench.commands.dry_run import describe_plan

        click.echo(describe_plan(plan, execution, catalog, warn))
        return 0
    store = Store.open(out)
    pending = remaining(plan, store, fresh=not resume, warn=warn)
    todo, absent = with_data(pending, catalog)
    _tell_what_is_done(plan, pending, todo, out, warn)
    try:
        with terminable(), progress(len(todo), execution.workers) as display:
            if todo:
                prepare_kernels(repeats.device, display.say)
            events = HookedEvents(display, plugins, display.say)
            summaries = carry_out(plan, todo, store, execution, execute, events)
    except KeyboardInterrupt:
        done = len(plan.runs) - len(remaining(plan, store, fresh=False, warn=lambda _: None))
        warn(f"interrupted: {done} of {len(plan.runs)} runs are kept in {out}; the same command continues")
        return 130
    _deliver_leaderboard(summaries, [*plan.not_run, *absent], delivery, metric, store, warn)
    return int(any(summary.status != "ok" for summary in summaries))


def _tell_what_is_done(plan: Plan, pending: list[Run], todo: list[Run], out: Path, warn: Callable[[str], None]) -> None:
    done, lacking = len(plan.runs) - len(pending), len(pending) - len(todo)
    if done:
        rest = f"{len(todo)} to go" if todo else "nothing to do (--fresh runs them again)"
        without = f", {lacking} have no data on this machine" if lacking else ""
        warn(f"{done} of {len(plan.runs)} runs are done already in {out}: {rest}{without}")


def _deliver_leaderboard(
    summaries: list[Summary],
    not_run: list[NotRun],
    delivery: Delivery,
    metric: str | None,
    store: Store,
    warn: Callable[[str], None],
) -> None:
    boards = boards_of(summaries, delivery.catalog, metric)
    delivery.deliver(boards, summaries, store, warn, not_run=not_run)
