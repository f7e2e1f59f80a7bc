"""A worker process: executes one task after another and tells its parent.

Messages to the worker are `Task`s; from it they are `Message`s. The end of `lifeline` means that the parent is gone.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdbench.executors import Execution
from kdbench.plan import Run

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from kdbench.engine.context import RunContext
    from kdbench.store import Store


TASK_MARK = "=== kdbench task"
"""Begins a line of the worker's log that names the task whose output follows."""


@dataclass(frozen=True)
class Task:
    """Train the teacher of a run, execute a run, or time a few of its steps.

    `readers` are the methods, with their parameters, of all runs that read the same teacher's stored signals: what they
    need of it is computed in one pass.
    """

    kind: Literal["teacher", "run", "probe"]
    run: Run
    readers: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True)
class Message:
    """What a worker says of its task.

    epoch: phase, epoch, epochs, logs. teacher: status and error, both None where all is well. record: the encoded
    record. busy: another process executes the run. seconds: estimated, by phase. fatal: the store cannot be written.
    """

    kind: Literal["epoch", "teacher", "record", "busy", "seconds", "fatal"]
    values: dict[str, Any] = field(default_factory=dict)


def work(connection: Connection, lifeline: Connection, execution: Execution, log: Path) -> None:
    """Serve tasks until the parent ends this process, or ends itself."""
    _redirect_output(log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()

    import torch

    from kdbench.engine.context import RunContext
    from kdbench.plugins import load_plugins
    from kdbench.store import Store

    torch.set_num_threads(execution.threads)
    plugins = load_plugins(execution.blocked)
    context = RunContext(plugins.catalog, execution.directory, plugins=plugins.versions(), workers=execution.workers)
    store = Store.open(execution.directory)
    while True:
        task: Task = connection.recv()
        print(TASK_MARK, task.kind, task.run.run_id, task.run.name, "seed", task.run.seed, flush=True)  # noqa: T201
        connection.send(_serve(task, context, store, execution, connection))


def _serve(task: Task, context: RunContext, store: Store, execution: Execution, connection: Connection) -> Message:
    from kdbench.errors import KdbenchError, StoreError

    def on_epoch(phase: str, epoch: int, epochs: int, logs: dict[str, float]) -> None:
        connection.send(Message("epoch", {"phase": phase, "epoch": epoch, "epochs": epochs, "logs": logs}))

    match task.kind:
        case "teacher":
            return _train_teacher(task.run, context, on_epoch)
        case "run":
            try:
                context.readers = task.readers
                return _execute(task.run, context, store, execution, on_epoch)
            except StoreError as error:
                return Message("fatal", {"what": error.what, "why": error.why, "fix": error.fix})
        case "probe":
            from kdbench.engine.probe import seconds_per_run

            try:
                return Message("seconds", seconds_per_run(task.run, context))
            except KdbenchError as error:
                return Message("fatal", {"what": error.what, "why": error.why, "fix": error.fix})


def _train_teacher(run: Run, context: RunContext, on_epoch: Any) -> Message:
    from kdbench.engine.run import prepare_teacher
    from kdbench.errors import Diverged
    from kdbench.plugins import describe

    try:
        prepare_teacher(run, context, on_epoch)
    except Diverged as error:
        return Message("teacher", {"status": "diverged", "error": describe(error)})
    except Exception as error:  # noqa: BLE001 - told to the parent, which writes it into the records of its runs
        return Message("teacher", {"status": "failed", "error": describe(error)})
    return Message("teacher", {"status": None, "error": None})


def _execute(run: Run, context: RunContext, store: Store, execution: Execution, on_epoch: Any) -> Message:
    from kdbench.engine.run import execute_run
    from kdbench.records import encode

    with store.claim(run.run_id) as mine:
        if not mine:
            return Message("busy")
        if (finished := store.finished_since(run.run_id, execution.started)) is not None:
            return Message("record", {"json": encode(finished)})
        record, predictions = execute_run(run, context, on_epoch)
        store.write(record, predictions, replace=True)
    return Message("record", {"json": encode(record)})


def _redirect_output(log: Path) -> None:
    """Let what libraries and methods print go to the log, so that it never mixes with data or progress."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # the last words of a process that dies must be in the log


def _die_with_parent(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
