"""`kdbench run --dry-run`: the plan, and how long it will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import msgspec

from kdbench.catalog import Catalog
from kdbench.executors import Execution
from kdbench.executors.scout import Scout, scouting
from kdbench.job import remaining, with_data
from kdbench.plan import Plan, Run
from kdbench.records import Summary
from kdbench.store import MARKER, Store


def describe_plan(plan: Plan, execution: Execution, catalog: Catalog, warn: Callable[[str], None]) -> str:
    """Every run and whether it is done, what is refused, and an estimate of the rest.

    The estimate comes from earlier records, or from a few steps.
    """
    summaries: list[Summary] = []
    todo = list(plan.runs)
    if (execution.directory / MARKER).exists():
        store = Store.open(execution.directory, create=False)
        todo, summaries = remaining(plan, store, fresh=False, warn=warn), store.summaries(problems=[])
    pending = {run.run_id for run in todo}
    todo, absent = with_data(todo, catalog)
    lacking = {one.name for one in absent}
    threads = _threads(plan.runs, execution)
    with scouting(replace(execution, threads=threads)) as scout:
        done = {run.pair_id for run in plan.runs if run.run_id not in pending}
        refused = scout.refused([run for run in todo if run.pair_id not in done])
        todo = [run for run in todo if run.run_id not in refused]
        time = [_estimate(todo, summaries, execution, scout)] if todo else []
    lines = []
    for run in plan.runs:
        state = "done" if run.run_id not in pending else "lacks" if run.combo.dataset in lacking else "to run"
        lines.append(f"{'refused' if run.run_id in refused else state:7} {run.run_id}  {_title(run)}")
    lines += [f"not run: {one.name}: {one.reason}; get it with: {one.fix}" for one in (*plan.not_run, *absent)]
    reasons = {run.name: refused[run.run_id] for run in plan.runs if run.run_id in refused}
    lines += [f"{name}: {reason}" for name, reason in reasons.items()]
    without = f", {len(refused)} refused" if refused else ""
    workers = f"{execution.workers} workers of {threads} threads"
    return "\n".join([*lines, f"{len(plan.runs)} runs, {len(todo)} to run{without}, {workers}", *time])


def estimate(todo: Sequence[Run], execution: Execution) -> str:
    """How long runs will take of which nothing is known, from a few steps of them."""
    with scouting(replace(execution, threads=_threads(todo, execution))) as scout:
        return _estimate(todo, [], execution, scout)


def _estimate(todo: Sequence[Run], summaries: Iterable[Summary], execution: Execution, scout: Scout) -> str:
    """Seconds of all runs and teachers, shared among the workers; a teacher's runs wait for it."""
    measured: dict[Any, list[float]] = {}
    banked = set()
    for summary in summaries:
        if summary.status == "ok":
            spent = {phase: seconds for phase, seconds in summary.cost.seconds.items() if phase != "teacher"}
            measured.setdefault(_cost_key(summary), []).append(sum(spent.values()))
            banked.add(_teacher_key(summary))
    unknown = {
        run.combo.pair + run.combo.dataset + run.combo.recipe: run for run in todo if _run_key(run) not in measured
    }
    probed = _probe(list(unknown.values()), scout)
    start = scout.start if probed else 0.0
    students: dict[str, float] = defaultdict(float)
    teachers: dict[str, float] = defaultdict(float)
    for run in todo:
        costs = probed.get(run.combo.pair + run.combo.dataset + run.combo.recipe)
        if _run_key(run) in measured:
            students[run.teacher_id] += median(measured[_run_key(run)])
        elif costs is not None:
            students[run.teacher_id] += costs["student"] + costs["measure"]
        combo = run.combo
        teacher = (combo.dataset, combo.teacher, combo.teacher_view, run.teacher_recipe_label, run.devices)
        if teacher not in banked and costs is not None:
            teachers[run.teacher_id] = costs["teacher"]
    together = (sum(students.values()) + sum(teachers.values())) / execution.workers
    longest = max(teachers[key] + students[key] / execution.workers for key in {run.teacher_id for run in todo})
    how = "from earlier records" if not probed else "from a few training steps of each model"
    lacking = "what a method adds is" if start else "the start of the workers is"
    return f"about {_duration(start + max(together, longest))}, {how}; {lacking} not in it"


def _probe(runs: list[Run], scout: Scout) -> dict[str, dict[str, float]]:
    seconds = scout.seconds(runs)
    return {
        run.combo.pair + run.combo.dataset + run.combo.recipe: seconds[run.run_id]
        for run in runs
        if run.run_id in seconds
    }


def _threads(runs: Sequence[Run], execution: Execution) -> int:
    """Those of all processes of a run together: the probe is one process."""
    return execution.threads * max((run.devices for run in runs), default=1)


def _cost_key(summary: Summary) -> Any:
    return (
        summary.dataset,
        summary.student,
        summary.student_view,
        summary.devices,
        msgspec.json.encode(summary.recipe_settings, order="sorted"),
    )


def _run_key(run: Run) -> Any:
    settings = msgspec.json.encode(msgspec.to_builtins(run.recipe), order="sorted")
    return run.combo.dataset, run.combo.student, run.combo.student_view, run.devices, settings


def _teacher_key(summary: Summary) -> Any:
    return summary.dataset, summary.teacher, summary.teacher_view, summary.teacher_recipe, summary.devices


def _title(run: Run) -> str:
    fold = "" if run.fold is None else f" fold {run.fold}"
    return f"{run.name} seed {run.seed}{fold}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
