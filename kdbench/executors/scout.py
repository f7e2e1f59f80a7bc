"""What can be known of runs before they begin, from a worker of its own: what is refused, how long the rest takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.executors import Execution
from kdbench.executors.checks import checks, spread
from kdbench.executors.worker import Message, Task
from kdbench.executors.workers import LocalWorker
from kdbench.plan import Run


@contextmanager
def scouting(execution: Execution) -> Iterator[Scout]:
    """A scout whose worker starts with the first question, and writes nothing that stays."""
    with tempfile.TemporaryDirectory(prefix="kdbench-probe-") as directory:
        scout = Scout(replace(execution, directory=Path(directory)))
        try:
            yield scout
        finally:
            scout.stop()


class Scout:
    """Asks one worker. `start` is how long that took to start, in seconds: up to its first answer, without its work."""

    def __init__(self, execution: Execution) -> None:
        self.start = 0.0
        self._execution = execution
        self._worker: LocalWorker | None = None

    def refused(self, runs: Sequence[Run]) -> dict[str, str]:
        """Why runs will be refused before any training, by run id."""
        reasons: dict[str, str] = {}
        for task in checks(runs):
            reasons |= self._ask(task).values
        return spread(reasons, runs)

    def seconds(self, runs: Sequence[Run]) -> dict[str, dict[str, float]]:
        """Estimated seconds by phase (`kdbench.engine.probe`) and run id, without runs that cannot be built."""
        found = {}
        for run in runs:
            message = self._ask(Task("probe", run))
            if message.kind == "seconds":
                found[run.run_id] = message.values
        return found

    def stop(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.stop()

    def _ask(self, task: Task) -> Message:
        began, fresh = time.monotonic(), self._worker is None
        if self._worker is None:
            self._worker = LocalWorker(self._execution, 1)
        self._worker.assign(task, None)
        try:
            message: Message = self._worker.connections[0].recv()
        except EOFError:
            raise KdbenchError("the plan cannot be looked at", self._worker.death(), "run without --dry-run") from None
        if fresh:
            self.start = time.monotonic() - began - message.seconds
        return message
