"""Executors run a plan's runs somewhere. The plugin "executors" registers the local one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kdbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from kdbench.catalog import Register
    from kdbench.plan import Run
    from kdbench.records import Record


@dataclass(frozen=True)
class Execution:
    """How to run: plain data that travels to every worker.

    Args:
        directory: the store that finished runs are written to.
        bank: the results directory whose trained teachers are used, and added to; `directory` where None.
        workers: runs at the same time.
        threads: CPU threads of each process; a worker has as many processes as train one run together.
        started: when the command began, UTC, ISO 8601; a run that another process finished since is not repeated.
        max_time: seconds that one run (or the training of one teacher) may take; None for any.
        blocked: plugins that are left out.
    """

    directory: Path
    started: str
    workers: int = 1
    threads: int = 1
    max_time: float | None = None
    blocked: tuple[str, ...] = ()
    bank: Path | None = None


class Events(Protocol):
    """What an executor tells while it runs; called in the process that called it."""

    def teacher_started(self, run: Run) -> None:
        """The training of the teacher that `run` and others share begins, or its loading."""

    def run_started(self, run: Run) -> None:
        """A run begins."""

    def epoch_finished(self, run: Run, phase: str, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """An epoch of a phase (teacher, train, finetune) ended."""

    def run_finished(self, run: Run, record: Record) -> None:
        """A run ended; its record is in the store."""

    def preparing(self, text: str) -> None:
        """A large dataset is being prepared, which is done once; `text` says how far it is."""

    def waiting(self, runs: int) -> None:
        """Another process is executing the last `runs` runs of the plan; this one waits for their records."""


class Executor(Protocol):
    """Executes every run and writes its record to the store; returns when all have one.

    A run that fails, diverges, dies or takes too long costs only itself: its record says why. `run.devices` processes
    train a run together (`kdbench.place`); it is the same for all runs of a plan.

    Raises: StoreError where records cannot be written; KeyboardInterrupt when interrupted, with no worker left.
    """

    def __call__(self, runs: Sequence[Run], execution: Execution, events: Events) -> None:
        """Execute the runs, in any order."""


@hookimpl
def kdbench_register_executors(register: Register) -> None:
    """Worker processes on this machine."""
    register("local", "kdbench.executors.local:execute")
