"""`kdbench tune`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from kdbench.commands.execution import make_execution, make_repeats, terminable
from kdbench.errors import UnknownName
from kdbench.executors import Execution, Executor
from kdbench.job import HookedEvents, remaining, with_data
from kdbench.kernel_build.prepare import prepare_kernels
from kdbench.names import did_you_mean
from kdbench.plan import NotRun, Plan, Run, make_plan
from kdbench.plugins import Plugins
from kdbench.progress import progress
from kdbench.report.tuned import Tuned, TunedBoard, tuned_boards
from kdbench.search import Search
from kdbench.select import Selection
from kdbench.settings import Settings
from kdbench.store import Store
from kdbench.tuning.study import Sampler, Study, import_optuna
from kdbench.tuning.trials import search

TRIALS = "trials"
"""The store of the trials, inside the results directory: what reads that one never meets them."""
FORMATS = ("table", "md", "csv", "json")
_LR_FACTOR = 10


@dataclass(frozen=True)
class _Searches:
    """What is to be done: studies with the default final runs of each, and what this machine lacks."""

    studies: list[tuple[Study, list[Run]]]
    not_run: list[NotRun]


def tune_command(
    plugins: Plugins,
    *,
    warn: Callable[[str], None],
    names: tuple[str, ...],
    everything: bool,
    expression: str | None,
    suite: str | None,
    trials: int,
    seeds: int,
    tune_seed: tuple[int, ...],
    tune_lr: bool,
    sampler: Sampler,
    settings: tuple[str, ...],
    out: Path,
    resume: bool,
    executor: str,
    workers: int | None,
    device: str,
    devices: int,
    deterministic: bool | None,
    max_time: float | None,
    dry_run: bool,
    metric: str,
    form: str,
    **axes: tuple[str, ...],
) -> int:
    """Search every selected combo, run the best beside the defaults, print both; the exit code."""
    import_optuna()
    _check_metric(metric)
    catalog = plugins.catalog
    repeats = make_repeats(tuple(dict.fromkeys(tune_seed)), device, devices, deterministic)
    selection = Selection(all=everything, names=names, expression=expression, suite=suite, **axes)
    trial_plan = make_plan(catalog, selection, settings, repeats)
    final_plan = make_plan(catalog, selection, settings, replace(repeats, seeds=tuple(range(seeds))))
    execute: Executor = catalog.find("executor", executor).load()
    execution = make_execution(plugins, out, repeats, workers=workers, max_time=max_time)
    searches = _searches(plugins, trial_plan, final_plan, settings, trials, tune_lr, sampler, metric)
    studies = [study for study, _ in searches.studies]
    if dry_run:
        from kdbench.commands.tune_plan import describe_search

        click.echo(describe_search(searches.studies, len(repeats.seeds), searches.not_run, execution))
        return 0
    finals, store = Store.open(out), Store.open(out / TRIALS)
    _announce(studies, repeats.seeds, metric, warn)
    try:
        with terminable():
            job = _Job(plugins, execute, repeats.device, warn)
            in_trials = replace(execution, directory=out / TRIALS, bank=out)
            search(studies, store, lambda runs: job.carry_out(runs, in_trials), fresh=not resume, warn=warn)
            results = [
                Tuned(study, repeats.seeds, default, [study.final_run(run) for run in default] if study.best else [])
                for study, default in searches.studies
            ]
            runs = {run.run_id: run for result in results for run in (*result.default, *result.tuned)}
            todo = remaining(Plan(tuple(runs.values())), finals, fresh=not resume, warn=warn)
            if todo:
                warn(f"final runs: {len(todo)} of {len(runs)} to go")
                job.carry_out(todo, execution)
    except KeyboardInterrupt:
        kept = len(store.statuses(problems=[]))
        warn(f"interrupted: {kept} runs of trials are kept in {out / TRIALS}; the same command continues")
        return 130
    summaries = {summary.run_id: summary for summary in finals.summaries(runs, problems=[])}
    boards = tuned_boards(results, summaries)
    _report(boards, searches.not_run, out, form, warn)
    well = all(run_id in summaries and summaries[run_id].status == "ok" for run_id in runs)
    return int(not well or any(study.best is None for study in studies))


def _searches(
    plugins: Plugins,
    trial_plan: Plan,
    final_plan: Plan,
    settings: Sequence[str],
    trials: int,
    tune_lr: bool,
    sampler: Sampler,
    metric: str,
) -> _Searches:
    from kdbench.metric_info import METRICS

    catalog = plugins.catalog
    runs, absent = with_data(trial_plan.runs, catalog)
    given = Settings.parse(settings)
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    studies = []
    for name, members in by_name.items():
        combo, lr = members[0].combo, members[0].recipe.lr
        method = catalog.find("method", combo.method).load()
        study = Study(
            members,
            method,
            pinned={**combo.params, **given.of_method(combo.method, method, combo.params)},
            recipe_space={"lr": Search(lr / _LR_FACTOR, lr * _LR_FACTOR, log=True)} if tune_lr else {},
            budget=trials,
            metric=metric,
            higher_is_better=METRICS[metric].higher_is_better,
            sampler=sampler,
        )
        studies.append((study, [run for run in final_plan.runs if run.name == name]))
    return _Searches(studies, [*trial_plan.not_run, *absent])


@dataclass(frozen=True)
class _Job:
    """Executes runs with a progress display."""

    plugins: Plugins
    execute: Executor
    device: str
    warn: Callable[[str], None]

    def carry_out(self, runs: list[Run], execution: Execution) -> None:
        with progress(len(runs), execution.workers) as display:
            prepare_kernels(self.device, display.say)
            self.execute(runs, execution, HookedEvents(display, self.plugins, display.say))


def _check_metric(metric: str) -> None:
    """Refuse a metric that is not measured on the validation split of every run."""
    from kdbench.metric_info import METRICS

    known = [name for name in METRICS if name != "agreement"]
    if metric not in known:
        why = "the search needs a metric of the validation split; agreement and those of plugins are of the test split"
        raise UnknownName(
            f"--metric {metric}: nothing to search by", did_you_mean(metric, known) or why, f"known: {', '.join(known)}"
        )


def _announce(studies: list[Study], seeds: tuple[int, ...], metric: str, warn: Callable[[str], None]) -> None:
    budget = max((study.budget for study in studies), default=0)
    each = f"{budget} trial{'s' * (budget != 1)} each" + f" at {len(seeds)} seeds" * (len(seeds) > 1)
    warn(f"{len(studies)} searches of {each}, by validation {metric}")
    for study in studies:
        if study.budget < budget:
            warn(f"{study.name}: nothing to search; its defaults are its only trial")


def _report(boards: list[TunedBoard], not_run: list[NotRun], out: Path, form: str, warn: Callable[[str], None]) -> None:
    from kdbench.report.tuned_export import REPORTS, render_tuned_csv, render_tuned_json, write_tuned
    from kdbench.report.tuned_text import render_tuned_markdown, render_tuned_table

    paths = write_tuned(boards, out / REPORTS, out / "tmp")
    match form:
        case "table":
            text = render_tuned_table(boards, not_run, color=sys.stdout.isatty())
        case "md":
            text = render_tuned_markdown(boards, not_run)
        case "csv":
            text = render_tuned_csv(boards)
        case _:
            text = render_tuned_json(boards, not_run)
    click.echo(text, nl=False)
    warn(f"written: {', '.join(map(str, paths))}")
