"""A worker process: executes one task after another and tells its parent.

Messages to the worker are `Task`s; from it they are `Message`s. The end of `lifeline` means that the parent is gone.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdbench.executors import Execution
from kdbench.place import Place, leave
from kdbench.plan import Run

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from kdbench.engine.context import RunContext
    from kdbench.store import Store


TASK_MARK = "=== kdbench task"
"""Begins a line of the worker's log that names the task whose output follows."""


@dataclass(frozen=True)
class Task:
    """Train the teacher of a run, execute a run, time a few of its steps, or ask which runs of a dataset are refused.

    `readers` are the methods, with their parameters, of all runs that read the same teacher's stored signals: what they
    need of it is computed in one pass. `runs` are those that are asked about, `run` the first of them.
    """

    kind: Literal["teacher", "run", "probe", "check"]
    run: Run
    readers: tuple[tuple[str, dict[str, Any]], ...] = ()
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Message:
    """What a worker says of its task.

    preparing: how far the preparation of a large dataset is, in words. epoch: phase, epoch, epochs, logs. teacher:
    status and error, both None where all is well. record: the encoded record. busy: another process executes the run.
    seconds: estimated, by phase. refused: reasons by run id. fatal: the store cannot be written.
    failed: one of several processes that are at the task gave up, with status and error, and whether that is only
    because it lost another (`lost_peer`); the task ends, and the parent ends them all and writes the record. `seconds`
    is how long an answer to a question (probe, check) took, `kept` the part of it that need not be spent again.
    """

    kind: Literal["preparing", "epoch", "teacher", "record", "busy", "seconds", "refused", "fatal", "failed"]
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    kept: float = 0.0


def work(connection: Connection, lifeline: Connection, execution: Execution, log: Path, place: Place) -> None:
    """Serve tasks until the parent ends this process, or ends itself."""
    _redirect_output(log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_die_with_parent, args=(lifeline, place), daemon=True).start()
    take_place(place)

    import torch

    from kdbench.engine.context import RunContext
    from kdbench.plugins import load_plugins
    from kdbench.preparation import listen
    from kdbench.store import Store

    listen(lambda text: connection.send(Message("preparing", {"text": text})))
    torch.set_num_threads(execution.threads)
    plugins = load_plugins(execution.blocked)
    context = RunContext(
        plugins.catalog,
        execution.bank or execution.directory,
        plugins=plugins.versions(),
        workers=execution.workers,
        place=place,
    )
    store = Store.open(execution.directory)
    while True:
        task: Task = connection.recv()
        print(TASK_MARK, task.kind, task.run.run_id, task.run.name, "seed", task.run.seed, flush=True)  # noqa: T201
        serve = _serve if place.size == 1 else _serve_together
        if (message := serve(task, context, store, execution, _epoch_listener(connection, place))) is not None:
            connection.send(message)


def _epoch_listener(connection: Connection, place: Place) -> Any:
    def on_epoch(phase: str, epoch: int, epochs: int, logs: dict[str, float]) -> None:
        if place.first:
            connection.send(Message("epoch", {"phase": phase, "epoch": epoch, "epochs": epochs, "logs": logs}))

    return on_epoch


def _serve(task: Task, context: RunContext, store: Store, execution: Execution, on_epoch: Any) -> Message:
    from kdbench.errors import KdbenchError, StoreError

    match task.kind:
        case "teacher":
            return _train_teacher(task.run, context, on_epoch)
        case "run":
            try:
                context.readers = task.readers
                return _execute(task.run, context, store, execution, on_epoch)
            except StoreError as error:
                return Message("fatal", {"what": error.what, "why": error.why, "fix": error.fix})
        case "check":
            return _check(task, context)
        case "probe":
            from kdbench.engine.probe import seconds_per_run

            began = time.perf_counter()
            try:
                seconds = seconds_per_run(task.run, context)
                return Message("seconds", seconds, time.perf_counter() - began)
            except KdbenchError as error:
                return Message("fatal", {"what": error.what, "why": error.why, "fix": error.fix})


def _check(task: Task, context: RunContext) -> Message:
    from kdbench.engine.pairs import refusals
    from kdbench.preparation import Watch

    watch = Watch()
    reasons = refusals(task.runs, context)
    return Message("refused", reasons, watch.seconds, watch.kept)


def _train_teacher(run: Run, context: RunContext, on_epoch: Any) -> Message:
    from kdbench.engine.run import prepare_teacher, verdict

    try:
        prepare_teacher(run, context, on_epoch)
    except Exception as error:  # noqa: BLE001 - told to the parent, which writes it into the records of its runs
        status, text = verdict(error)
        return Message("teacher", {"status": status, "error": text})
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


def _serve_together(
    task: Task, context: RunContext, store: Store, execution: Execution, on_epoch: Any
) -> Message | None:
    """One process's part of a task that several are at; all but the first have something to say only if they fail."""
    from kdbench.engine.run import prepare_teacher, verdict
    from kdbench.errors import PeerLost, StoreError

    try:
        if task.kind == "check":
            return _check(task, context) if context.place.first else None
        if task.kind == "run":
            context.readers = task.readers
            return _execute_together(task.run, context, store, execution, on_epoch)
        prepare_teacher(task.run, context, on_epoch)
        return Message("teacher", {"status": None, "error": None}) if context.place.first else None
    except StoreError as error:
        if task.kind == "run":
            return Message("fatal", {"what": error.what, "why": error.why, "fix": error.fix})
        return Message("failed", {"status": "failed", "error": verdict(error)[1], "lost_peer": False})
    except Exception as error:  # noqa: BLE001 - told to the parent, which writes it into the record
        status, text = verdict(error)
        return Message("failed", {"status": status, "error": text, "lost_peer": isinstance(error, PeerLost)})


def _execute_together(
    run: Run, context: RunContext, store: Store, execution: Execution, on_epoch: Any
) -> Message | None:
    """The first process claims the run and writes its record; the others do what it does."""
    from kdbench.engine.context import make_fabric
    from kdbench.engine.peers import Peers
    from kdbench.engine.run import train_and_measure
    from kdbench.records import encode

    peers = Peers(make_fabric(run, run.recipe.precision, context.place))
    if not peers.first:
        if peers.agree(False):
            train_and_measure(run, context, on_epoch)
        return None
    with store.claim(run.run_id) as mine:
        finished = store.finished_since(run.run_id, execution.started) if mine else None
        if not peers.agree(mine and finished is None):
            return Message("record", {"json": encode(finished)}) if finished is not None else Message("busy")
        done = train_and_measure(run, context, on_epoch)
        assert done is not None, "the first process has the record"
        store.write(*done, replace=True)
    return Message("record", {"json": encode(done[0])})


def take_place(place: Place) -> None:
    """Tell Fabric that this process is one of several, and that they talk within this machine."""
    if place.size > 1:
        os.environ |= {"LOCAL_RANK": str(place.rank), "NODE_RANK": "0"}
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


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


def _die_with_parent(lifeline: Connection, place: Place) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        leave(place)  # nobody else is left to remove it
        os._exit(1)
