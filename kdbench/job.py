"""A plan carried out: what is left to do, where its data is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kdbench.catalog import Catalog, Kind
from kdbench.errors import DataNotAvailable, NewerRecord, RecordError
from kdbench.executors import Events, Execution, Executor
from kdbench.fetching.holdings import fetch_command, missing, way_to_get
from kdbench.plan import NotRun, Plan, Run
from kdbench.plugins import Plugins
from kdbench.records import Record, Summary
from kdbench.store import Store

_DONE = {"ok", "diverged"}
"""Statuses that running again would only repeat: training is deterministic, crashes and time limits are not."""


def remaining(plan: Plan, store: Store, *, fresh: bool, warn: Callable[[str], None], retry: bool = True) -> list[Run]:
    """The runs that are not done in the store; with `retry`, failed ones and those that took too long are tried again.

    A record that is damaged is warned about, and its run done again. Raises: NewerRecord, also with `fresh`: what a
    newer kdbench wrote is not overwritten.
    """
    problems: list[RecordError] = []
    statuses = store.statuses((run.run_id for run in plan.runs), problems=problems)
    for problem in problems:
        if isinstance(problem, NewerRecord):
            raise problem
        warn(f"warning: {problem.what}; {problem.why}; its run is done again")
    if fresh:
        return list(plan.runs)
    done = {run_id for run_id, status in statuses.items() if status in _DONE or not retry}
    return [run for run in plan.runs if run.run_id not in done]


def with_data(runs: Iterable[Run], catalog: Catalog) -> tuple[list[Run], list[NotRun]]:
    """The runs whose data is on this machine, and the datasets and pretrained models that are not.

    What declares sources is here where all of them were fetched. A dataset may also be found elsewhere: the factory of
    one registered with sources, or with `fix`, the command that gets it, is asked.
    """
    runs = list(runs)
    absent: dict[tuple[Kind, str], NotRun] = {}
    for kind, name in dict.fromkeys(used for run in runs for used in _uses(run)):
        entry = catalog.find(kind, name)
        lacking = missing(entry)
        try:
            if kind == "dataset" and (lacking or ("fix" in entry.metadata and not entry.sources)):
                entry.load()()
            elif lacking:
                reason = f"{kind} {name!r} is not on this machine; {lacking[0]} was not fetched"
                absent[kind, name] = NotRun(name, reason, fetch_command(name))
        except DataNotAvailable as error:
            reason = "; ".join(part for part in (error.what, error.why) if part)
            absent[kind, name] = NotRun(name, reason, way_to_get(entry, error))
        except Exception:  # noqa: BLE001 - damaged data is its runs' failure, told in their records
            continue
    return [run for run in runs if not any(used in absent for used in _uses(run))], list(absent.values())


def _uses(run: Run) -> list[tuple[Kind, str]]:
    return [("dataset", run.combo.dataset), ("teacher", run.combo.teacher), ("student", run.combo.student)]


def carry_out(
    plan: Plan,
    todo: list[Run],
    store: Store,
    execution: Execution,
    executor: Executor,
    events: Events,
) -> list[Summary]:
    """Execute what is left of a plan; the records of all of its runs."""
    if todo:
        executor(todo, execution, events)
    return store.summaries([run.run_id for run in plan.runs])


class HookedEvents:
    """Passes events on to the progress display and to the plugins' event hooks."""

    def __init__(self, display: Events, plugins: Plugins, warn: Callable[[str], None]) -> None:
        self._display, self._plugins, self._warn = display, plugins, warn

    def teacher_started(self, run: Run) -> None:
        """Shown only: plugins hear of runs."""
        self._display.teacher_started(run)

    def run_started(self, run: Run) -> None:
        """`kdbench_run_started`."""
        self._display.run_started(run)
        self._plugins.emit("kdbench_run_started", self._warn, run=run)

    def epoch_finished(self, run: Run, phase: str, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """`kdbench_epoch_finished` for the student's epochs; those of the fine-tune go on counting."""
        self._display.epoch_finished(run, phase, epoch, epochs, logs)
        if phase != "teacher":
            number = epoch + (run.recipe.epochs if phase == "finetune" else 0)
            self._plugins.emit("kdbench_epoch_finished", self._warn, run=run, epoch=number, logs=logs)

    def run_finished(self, run: Run, record: Record) -> None:
        """`kdbench_run_finished`."""
        self._display.run_finished(run, record)
        self._plugins.emit("kdbench_run_finished", self._warn, run=run, record=record)

    def preparing(self, text: str) -> None:
        """Shown only."""
        self._display.preparing(text)

    def waiting(self, runs: int) -> None:
        """Shown only."""
        self._display.waiting(runs)
