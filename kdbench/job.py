"""A plan carried out: what is left to do, where its data is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kdbench.catalog import Catalog
from kdbench.errors import DataNotAvailable, NewerRecord, RecordError
from kdbench.executors import Events, Execution, Executor
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
    """The runs whose dataset is on this machine, and the datasets that are not.

    A dataset that a plugin registers with `fix`, the command that fetches it, may be absent: its factory is asked.
    """
    runs = list(runs)
    absent: dict[str, NotRun] = {}
    for name in dict.fromkeys(run.combo.dataset for run in runs):
        entry = catalog.find("dataset", name)
        if "fix" in entry.metadata:
            try:
                entry.load()()
            except DataNotAvailable as error:
                reason = "; ".join(part for part in (error.what, error.why) if part)
                absent[name] = NotRun(name, reason, error.fix)
            except Exception:  # noqa: BLE001 - damaged data is its runs' failure, told in their records
                continue
    return [run for run in runs if run.combo.dataset not in absent], list(absent.values())


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

    def waiting(self, runs: int) -> None:
        """Shown only."""
        self._display.waiting(runs)
