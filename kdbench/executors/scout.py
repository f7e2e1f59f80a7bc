"""What can be known of runs before they begin, from workers of its own: what is refused, how long the rest takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.executors import Execution
from kdbench.executors.checks import checks, spread
from kdbench.executors.worker import Message, Task
from kdbench.executors.workers import LocalWorker
from kdbench.plan import Run
from kdbench.preparation import tell


@contextmanager
def scouting(execution: Execution) -> Iterator[Scout]:
    """A scout whose workers start with the first question, and write nothing that stays."""
    with tempfile.TemporaryDirectory(prefix="kdbench-probe-") as directory:
        scout = Scout(replace(execution, directory=Path(directory)))
        try:
            yield scout
        finally:
            scout.stop()


class Scout:
    """Asks as many workers at a time as will execute the runs: they then disturb each other as those will.

    `start` is how long the first one took to start, in seconds: up to its first answer, without its work; `checking`
    the work of telling what is refused, without preparations of data that are kept.
    """

    def __init__(self, execution: Execution) -> None:
        self.start = self.checking = 0.0
        self._execution = execution
        self._workers: list[LocalWorker] = []

    def refused(self, runs: Sequence[Run]) -> dict[str, str]:
        """Why runs will be refused before any training, by run id."""
        reasons: dict[str, str] = {}
        answers = self._ask(checks(runs))
        for message in answers:
            reasons |= message.values
        self.checking = sum(message.seconds - message.kept for message in answers) / self._execution.workers
        return spread(reasons, runs)

    def seconds(self, runs: Sequence[Run]) -> dict[str, dict[str, float]]:
        """Estimated seconds by phase (`kdbench.engine.probe`) and run id, without runs that cannot be built."""
        answers = self._ask([Task("probe", run) for run in runs])
        return {
            run.run_id: message.values for run, message in zip(runs, answers, strict=True) if message.kind == "seconds"
        }

    def stop(self) -> None:
        """End the workers, if there are any."""
        for worker in self._workers:
            worker.stop()

    def _ask(self, tasks: Sequence[Task]) -> list[Message]:
        """The answers, in the order of the questions, each worker at one question at a time."""
        answers: dict[int, Message] = {}
        asked: dict[LocalWorker, int] = {}
        waiting, began, fresh = list(enumerate(tasks)), time.monotonic(), not self._workers
        while len(answers) < len(tasks):
            idle = [worker for worker in self._workers if worker not in asked]
            while waiting and (idle or len(self._workers) < self._execution.workers):
                worker = idle.pop(0) if idle else self._hire()
                place, task = waiting.pop(0)
                asked[worker] = place
                worker.assign(task, None)
            ready = wait([source for worker in asked for source in worker.sources])
            for worker in [each for each in asked if any(source in ready for source in each.sources)]:
                message = self._hear(worker)
                if message.kind == "preparing":
                    tell(message.values["text"])
                    continue
                answers[asked.pop(worker)] = message
                if fresh:
                    fresh, self.start = False, time.monotonic() - began - message.seconds
        return [answers[place] for place in range(len(tasks))]

    def _hire(self) -> LocalWorker:
        self._workers.append(LocalWorker(self._execution, len(self._workers) + 1))
        return self._workers[-1]

    def _hear(self, worker: LocalWorker) -> Message:
        try:
            message: Message = worker.connections[0].recv()
        except EOFError:
            raise KdbenchError("the plan cannot be looked at", worker.death(), "run without --dry-run") from None
        return message
