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
from kdbench.preparation import Watch
from kdbench.records import Summary
from kdbench.store import MARKER, Store


def describe_plan(plan: Plan, execution: Execution, catalog: Catalog, warn: Callable[[str], None]) -> str:
    """Every run and whether it is done, what is refused, and an estimate of the rest.

    The estimate comes from earlier records, or from a short training by each method.
    """
    summaries: list[Summary] = []
    todo = list(plan.runs)
    if (execution.directory / MARKER).exists():
        store = Store.open(execution.directory, create=False)
        todo, summaries = remaining(plan, store, fresh=False, warn=warn), store.summaries(problems=[])
    pending = {run.run_id for run in todo}
    watch = Watch()
    todo, absent = with_data(todo, catalog)
    reading = watch.seconds - watch.kept
    lacking = {one.name for one in absent}
    threads = _threads(plan.runs, execution)
    with scouting(replace(execution, threads=threads)) as scout:
        done = {run.pair_id for run in plan.runs if run.run_id not in pending}
        refused = scout.refused([run for run in todo if run.pair_id not in done])
        todo = [run for run in todo if run.run_id not in refused]
        took = [_estimate(todo, summaries, execution, scout, reading)] if todo else []
    lines = []
    for run in plan.runs:
        state = "done" if run.run_id not in pending else "lacks" if run.combo.dataset in lacking else "to run"
        lines.append(f"{'refused' if run.run_id in refused else state:7} {run.run_id}  {_title(run)}")
    lines += map(str, (*plan.not_run, *absent))
    reasons = {run.name: refused[run.run_id] for run in plan.runs if run.run_id in refused}
    lines += [f"{name}: {reason}" for name, reason in reasons.items()]
    without = f", {len(refused)} refused" if refused else ""
    workers = f"{execution.workers} workers of {threads} threads"
    return "\n".join([*lines, f"{len(plan.runs)} runs, {len(todo)} to run{without}, {workers}", *took])


def estimate(todo: Sequence[Run], execution: Execution) -> str:
    """How long runs will take of which nothing is known, from a short training by each method."""
    with scouting(replace(execution, threads=_threads(todo, execution))) as scout:
        return _estimate(todo, [], execution, scout)


def _estimate(
    todo: Sequence[Run], summaries: Iterable[Summary], execution: Execution, scout: Scout, reading: float = 0.0
) -> str:
    """Seconds of all runs and teachers, shared among the workers; a teacher's runs wait for it.

    `reading` is how long it took to find out which data is here, which the command does again.
    """
    measured: dict[Any, list[float]] = {}
    banked = set()
    for summary in summaries:
        if summary.status == "ok" and not summary.trial:
            spent = {phase: seconds for phase, seconds in summary.cost.seconds.items() if phase != "teacher"}
            measured.setdefault(_cost_key(summary), []).append(sum(spent.values()))
            banked.add(_teacher_key(summary))
    unknown = {_probe_key(run): run for run in todo if _run_key(run) not in measured}
    seconds = scout.seconds(list(unknown.values()))
    probed = {key: seconds[run.run_id] for key, run in unknown.items() if run.run_id in seconds}
    loading: dict[Any, float] = {}
    students: dict[str, float] = defaultdict(float)
    teachers: dict[str, float] = defaultdict(float)
    for run in todo:
        costs = probed.get(_probe_key(run))
        if _run_key(run) in measured:
            students[run.teacher_id] += median(measured[_run_key(run)])
        elif costs is not None:
            students[run.teacher_id] += costs["student"] + (0.0 if run.trial else costs["measure"])
        combo = run.combo
        teacher = (combo.dataset, combo.teacher, combo.teacher_view, run.teacher_recipe_label, run.devices)
        if costs is not None:
            data = combo.dataset, run.fold
            loading[data] = max(loading.get(data, 0.0), costs["data"])
            if teacher not in banked:
                teachers[run.teacher_id] = costs["teacher"] + costs["signals"]
    together = (sum(students.values()) + sum(teachers.values())) / execution.workers
    longest = max(teachers[key] + students[key] / execution.workers for key in {run.teacher_id for run in todo})
    before = scout.start + scout.checking + reading + sum(loading.values())
    how = "from a short training by each method" if probed else "from earlier records"
    untimed = sorted({run.combo.method for key, run in unknown.items() if "untimed" in probed.get(key, {})})
    lacking = f"; what {', '.join(untimed)} add{'s' if len(untimed) == 1 else ''} is not in it" if untimed else ""
    return f"about {_duration(before + max(together, longest))}, {how}{lacking}"


def _threads(runs: Sequence[Run], execution: Execution) -> int:
    """Those of all processes of a run together: the probe is one process."""
    return execution.threads * max((run.devices for run in runs), default=1)


def _cost_key(summary: Summary) -> Any:
    settings = _json(summary.recipe_settings), summary.method, _json(summary.params)
    return summary.dataset, summary.teacher, summary.student, summary.student_view, summary.devices, *settings


def _run_key(run: Run) -> Any:
    combo, settings = run.combo, (_json(msgspec.to_builtins(run.recipe)), run.combo.method, _json(run.params))
    return combo.dataset, combo.teacher, combo.student, combo.student_view, run.devices, *settings


def _probe_key(run: Run) -> Any:
    """One of the trials of a search stands for all of a method."""
    combo, params = run.combo, b"" if run.trial else _json(run.params)
    settings = b"" if run.trial else _json(msgspec.to_builtins(run.recipe))
    return combo.dataset, combo.pair, combo.recipe, settings, combo.method, params


def _json(values: Any) -> bytes:
    return msgspec.json.encode(values, order="sorted")


def _teacher_key(summary: Summary) -> Any:
    return summary.dataset, summary.teacher, summary.teacher_view, summary.teacher_recipe, summary.devices


def _title(run: Run) -> str:
    fold = "" if run.fold is None else f" fold {run.fold}"
    return f"{run.name} seed {run.seed}{fold}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
