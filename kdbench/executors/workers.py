"""One worker: the process, or the processes, that carry out one task after another for the local executor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from kdbench.executors import Execution
from kdbench.executors.worker import TASK_MARK, Message, Task, work
from kdbench.outcomes import now
from kdbench.place import Place, leave, places_for
from kdbench.records import Status

_GRACE_SECONDS = 5.0
"""How long the reason is awaited for which a process lost another."""


@dataclass(frozen=True, eq=False)
class _Process:
    process: SpawnProcess
    connection: Connection
    lifeline: Connection
    log: Path
    title: str


class LocalWorker:
    """A process, or as many as train one run together, and the task that it is at.

    All are children of the process that made it; each ends by itself when that one is gone, and `stop` ends all.
    """

    def __init__(self, execution: Execution, number: int, size: int = 1) -> None:
        self._places = places_for(size)
        with _environment(OMP_NUM_THREADS=str(execution.threads), MKL_NUM_THREADS=str(execution.threads)):
            self._processes = [_start(execution, number, place) for place in self._places]
        self.task: Task | None = None
        self.started = ""
        self.deadline: float | None = None

    @property
    def connections(self) -> list[Connection]:
        """To each process; the first one tells how the task goes, the others only what stopped them."""
        return [one.connection for one in self._processes]

    @property
    def sources(self) -> list[Any]:
        """What to wait for: a message, or an end."""
        return [*self.connections, *(one.process.sentinel for one in self._processes)]

    @property
    def alive(self) -> bool:
        """Whether no process has ended."""
        return all(one.process.is_alive() for one in self._processes)

    def assign(self, task: Task, max_time: float | None) -> None:
        """Begin a task."""
        self.task, self.started = task, now()
        self.deadline = time.monotonic() + max_time if max_time is not None else None
        for connection in self.connections:
            with suppress(BrokenPipeError):  # a dead process is found by its sentinel
                connection.send(task)

    def stop(self) -> None:
        """End the processes at once; the store keeps only whole records."""
        for one in self._processes:
            one.process.kill()
        for one in self._processes:
            one.process.join()
            one.connection.close()
            one.lifeline.close()
            with suppress(OSError):
                lines = one.log.read_text(errors="replace").splitlines()
                if not any(line.strip() and TASK_MARK not in line for line in lines):
                    one.log.unlink()
        leave(self._places[0])

    def death(self) -> str:
        """Why a process ended, in words."""
        dead = next((one for one in self._processes if not one.process.is_alive()), self._processes[0])
        dead.process.join()
        code = dead.process.exitcode or 0
        if code >= 0:
            reason = f"{dead.title} exited with code {code}"
        else:
            reason = f"{dead.title} was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                reason += ", as the system does when memory runs out"
        said = _last_line(dead.log)
        return f"{reason}; it last said: {said}" if said else reason

    def failure(self, message: Message) -> tuple[Status, str]:
        """Status and reason of a task that a process gave up; where it lost another process, that one's reason."""
        deadline = time.monotonic() + _GRACE_SECONDS
        told = message
        while told.values["lost_peer"] and self.alive and time.monotonic() < deadline:
            wait(self.connections, 0.1)
            for connection in self.connections:
                with suppress(EOFError, OSError):
                    if connection.poll() and (heard := connection.recv()).kind == "failed":
                        told = heard
        if told.values["lost_peer"] and not self.alive:
            return "failed", self.death()
        return told.values["status"], told.values["error"]


def _start(execution: Execution, number: int, place: Place) -> _Process:
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    their_lifeline, lifeline = context.Pipe(duplex=False)
    suffix = f".{place.rank}" if place.size > 1 else ""
    log = execution.directory / "logs" / f"worker-{os.getpid()}-{number}{suffix}.log"
    process = context.Process(
        target=work,
        args=(theirs, their_lifeline, execution, log, place),
        name=f"kdbench worker {number}{suffix}",
        daemon=True,
    )
    process.start()
    theirs.close()
    their_lifeline.close()
    title = f"process {place.rank + 1} of its {place.size}" if place.size > 1 else "its worker process"
    return _Process(process, connection, lifeline, log, title)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _last_line(log: Path) -> str:
    try:
        said = log.read_text(errors="replace").rpartition(TASK_MARK)[2].splitlines()[1:]
        lines = [line.strip() for line in said if line.strip()]
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""
