"""Runs on this machine, in worker processes that may die without harm to anything but their run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from kdbench.errors import StoreError
from kdbench.executors import Events, Execution
from kdbench.executors.checks import checks, spread
from kdbench.executors.worker import Message, Task
from kdbench.executors.workers import LocalWorker
from kdbench.outcomes import failure_record, now
from kdbench.plan import Run
from kdbench.records import Record, Status, decode
from kdbench.store import Store

_POLL_SECONDS = 0.5


def execute(runs: Sequence[Run], execution: Execution, events: Events) -> None:
    """Execute the runs in `execution.workers` processes; see `kdbench.executors.Executor`."""
    _Schedule(runs, execution, events).run()


@dataclass
class _Teacher:
    state: str = "waiting"
    status: Status = "ok"
    error: str = ""


@dataclass
class _Schedule:
    runs: Sequence[Run]
    execution: Execution
    events: Events
    workers: list[LocalWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = list(self.runs)
        self.busy: list[Run] = []
        self.teachers = {run.teacher_id: _Teacher() for run in self.runs}
        self.readers = _readers(self.runs)
        self.refused: set[str] = set()
        self.unchecked = checks(self.runs)
        self.store = Store.open(self.execution.directory)
        self.spawned = 0

    def run(self) -> None:
        try:
            while self.waiting or self.busy or any(worker.task for worker in self.workers):
                self._assign()
                self._listen()
        finally:
            for worker in self.workers:
                worker.stop()

    def _assign(self) -> None:
        self._settle_failed_teachers()
        if not self.waiting and self.busy and not any(worker.task for worker in self.workers):
            self._retry_busy()
        idle = [worker for worker in self.workers if worker.task is None]
        while (idle or len(self.workers) < self.execution.workers) and (task := self._next()):
            worker = idle.pop() if idle else self._spawn()
            if task.kind == "check":
                self.unchecked.remove(task)
            elif task.kind == "teacher":
                self.teachers[task.run.teacher_id].state = "training"
                self.events.teacher_started(task.run)
            else:
                self.waiting.remove(task.run)
                self.events.run_started(task.run)
            worker.assign(task, self.execution.max_time)

    def _next(self) -> Task | None:
        """The first run whose teacher is in the bank, or the teacher that the first of the others waits for.

        Before them, whether methods refuse what they are asked to serve: nothing is trained until that is known of all.
        """
        if self.unchecked:
            return self.unchecked[0]
        if any(worker.task is not None and worker.task.kind == "check" for worker in self.workers):
            return None
        for run in self.waiting:
            teacher = self.teachers[run.teacher_id]
            if teacher.state == "ready":
                return Task("run", run, tuple(self.readers[run.teacher_id].values()))
            if teacher.state == "waiting":
                return Task("teacher", run)
        return None

    def _spawn(self) -> LocalWorker:
        self.spawned += 1
        self.workers.append(LocalWorker(self.execution, self.spawned, self.runs[0].devices))
        return self.workers[-1]

    def _listen(self) -> None:
        at_work = [worker for worker in self.workers if worker.task is not None]
        sources = [source for worker in at_work for source in worker.sources]
        deadlines = [worker.deadline - time.monotonic() for worker in at_work if worker.deadline is not None]
        timeout = max(0.0, min([_POLL_SECONDS, *deadlines]))
        ready = wait(sources, timeout)
        for worker in at_work:
            if any(source in ready for source in worker.sources):
                self._hear(worker)
            if worker.task is not None and worker.deadline is not None and time.monotonic() >= worker.deadline:
                limit = f"{self.execution.max_time:g} s"
                self._lose(worker, "timeout", f"it took longer than --max-time {limit}")

    def _hear(self, worker: LocalWorker) -> None:
        for connection in worker.connections:
            try:
                while worker.task is not None and connection.poll():
                    self._handle(worker, worker.task, connection.recv())
            except (EOFError, OSError):
                pass  # what it died of is told below
        if worker.task is not None and not worker.alive:
            self._lose(worker, "failed", worker.death())

    def _handle(self, worker: LocalWorker, task: Task, message: Message) -> None:
        values = message.values
        match message.kind:
            case "preparing":
                self.events.preparing(values["text"])
                if self.execution.max_time is not None:  # what is done once for all runs is no run's time
                    worker.deadline = time.monotonic() + self.execution.max_time
                return
            case "epoch":
                self.events.epoch_finished(task.run, **values)
                return
            case "teacher":
                self._teacher_ended(task.run, values["status"], values["error"])
            case "record":
                path = f"the record of run {task.run.run_id}"
                self.events.run_finished(task.run, decode(values["json"], Record, name=path, fix="run it again"))
            case "refused":
                self._refuse(values)
            case "busy":
                self.busy.append(task.run)
            case "failed":
                self._lose(worker, *worker.failure(message))
            case "fatal":
                raise StoreError(**values)
        worker.task = worker.deadline = None

    def _lose(self, worker: LocalWorker, status: Status, reason: str) -> None:
        """A worker is dead, or is made so: its task ends with it."""
        task, started = worker.task, worker.started
        worker.stop()
        self.workers.remove(worker)
        assert task is not None
        worker.task = worker.deadline = None
        if task.kind == "teacher":
            self._teacher_ended(task.run, status, reason)
        elif task.kind == "run":
            self._write(task.run, status, reason, started)

    def _refuse(self, reasons: dict[str, str]) -> None:
        """Fail the runs that a method cannot serve, of all seeds and folds."""
        reasons = spread(reasons, self.runs)
        self.refused |= reasons.keys()
        self.readers = _readers([run for run in self.runs if run.run_id not in self.refused])
        for run in [run for run in self.waiting if run.run_id in reasons]:
            self.waiting.remove(run)
            self.events.run_started(run)
            self._write(run, "failed", reasons[run.run_id], now())

    def _teacher_ended(self, run: Run, status: Status | None, error: str) -> None:
        teacher = self.teachers[run.teacher_id]
        teacher.state = "failed" if status else "ready"
        if status:
            teacher.status, teacher.error = status, f"teacher {run.combo.teacher!r} could not be had: {error}"

    def _settle_failed_teachers(self) -> None:
        for run in [run for run in self.waiting if self.teachers[run.teacher_id].state == "failed"]:
            teacher = self.teachers[run.teacher_id]
            self.waiting.remove(run)
            self.events.run_started(run)
            self._write(run, teacher.status, teacher.error, now())

    def _write(self, run: Run, status: Status, error: str, started: str) -> None:
        record = failure_record(run, status, error, started)
        with self.store.claim(run.run_id) as mine:
            if not mine:
                self.busy.append(run)
                return
            self.store.write(record, replace=True)
        self.events.run_finished(run, record)

    def _retry_busy(self) -> None:
        """Take what another process has finished; what it left unfinished is executed here."""
        self.events.waiting(len(self.busy))
        time.sleep(_POLL_SECONDS)
        for run in list(self.busy):
            with self.store.claim(run.run_id) as mine:
                if not mine:
                    continue
            self.busy.remove(run)
            finished = self.store.finished_since(run.run_id, self.execution.started)
            if finished is not None:
                self.events.run_finished(run, finished)
            else:
                self.waiting.append(run)


def _readers(runs: Sequence[Run]) -> dict[str, dict[str, tuple[str, dict[str, Any]]]]:
    """The methods, with their parameters, that will read each teacher's signals."""
    readers: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {}
    for run in runs:
        reader = (run.combo.method, run.params)
        readers.setdefault(run.teacher_id, {})[repr(reader)] = reader
    return readers
