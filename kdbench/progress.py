"""Progress on stderr: live bars on a terminal, one line per event elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from kdbench.executors import Events
from kdbench.metric_info import METRICS
from kdbench.plan import Run
from kdbench.records import Record


class Display(Events, Protocol):
    """Events, and a way to say something else without breaking the display."""

    def say(self, text: str) -> None:
        """Print a line."""


@contextmanager
def progress(total: int, workers: int, stream: TextIO = sys.stderr) -> Iterator[Display]:
    """The display for `total` runs: live where the stream is a terminal."""
    if not stream.isatty():
        yield Lines(total, stream)
        return
    with Bars(total, workers) as bars:
        yield bars


class Lines:
    """One line for each teacher and each finished run."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._stream = total, stream
        self._done = 0
        self._waiting = 0

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._stream, flush=True)

    def teacher_started(self, run: Run) -> None:
        """Tell which teacher."""
        self.say(f"teacher {run.combo.teacher} on {run.combo.dataset}{_fold(run)}")

    def run_started(self, run: Run) -> None:
        """Its end is told."""

    def epoch_finished(self, run: Run, phase: str, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Too many for a log."""

    def run_finished(self, run: Run, record: Record) -> None:
        """Tell the run's accuracy, or what went wrong."""
        self._done += 1
        self.say(f"[{self._done}/{self._total}] {describe(run, record)}")

    def preparing(self, text: str) -> None:
        """Tell it."""
        self.say(text)

    def waiting(self, runs: int) -> None:
        """Tell once for each number of runs."""
        if runs != self._waiting:
            self._waiting = runs
            self.say(f"waiting for {runs} runs that another process is executing")


class Bars:
    """A bar for all runs with the time left, and one for each run at work with its epochs."""

    def __init__(self, total: int, workers: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            refresh_per_second=4,
        )
        self._all = self._bars.add_task("runs", total=total, note="")
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False)

    def teacher_started(self, run: Run) -> None:
        """A bar for the teacher."""
        self._add(
            run.teacher_id, f"teacher {run.combo.dataset}/{run.combo.teacher}{_fold(run)}", run.teacher_recipe.epochs
        )

    def run_started(self, run: Run) -> None:
        """A bar for the run; its teacher's, if any, is done."""
        self._remove(run.teacher_id)
        self._add(run.run_id, f"{run.name} seed {run.seed}{_fold(run)}", run.recipe.epochs)

    def epoch_finished(self, run: Run, phase: str, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Advance the bar."""
        task = self._tasks.get(run.teacher_id if phase == "teacher" else run.run_id)
        if task is not None:
            note = f"{phase} loss {logs['loss']:.3f}, validation accuracy {logs['val_accuracy']:.3f}"
            self._bars.update(task, completed=epoch + 1, total=epochs, note=note)

    def run_finished(self, run: Run, record: Record) -> None:
        """Advance the bar of all runs; what went wrong stays on the screen."""
        self._remove(run.run_id)
        self._bars.advance(self._all)
        if record.status != "ok":
            self.say(describe(run, record))

    def preparing(self, text: str) -> None:
        """Tell it."""
        self.say(text)

    def waiting(self, runs: int) -> None:
        """Tell beside the bar of all runs."""
        self._bars.update(self._all, note=f"waiting for {runs} runs of another process")

    def _add(self, key: str, text: str, epochs: int) -> None:
        from rich.markup import escape

        self._remove(key)
        self._tasks[key] = self._bars.add_task(escape(text), total=epochs, note="")

    def _remove(self, key: str) -> None:
        if key in self._tasks:
            self._bars.remove_task(self._tasks.pop(key))


def describe(run: Run, record: Record) -> str:
    """A finished run in one line."""
    name = f"{run.name} seed {run.seed}{_fold(run)}"
    if record.status != "ok":
        return f"{name}: {record.status.upper()}: {' '.join((record.error or '').split())}"
    seconds = record.cost.seconds
    metrics = record.val_metrics if run.trial else record.metrics
    metric = "accuracy" if "accuracy" in metrics or not metrics else next(iter(metrics))  # embeddings have none
    title = METRICS[metric].title if metric in METRICS else metric
    value = metrics.get(metric)
    trained = seconds.get("train", 0.0) + seconds.get("finetune", 0.0)
    return (
        f"{name}: {'validation ' if run.trial else ''}{title} {float('nan') if value is None else value:.4f}, "
        f"trained in {trained:.1f} s"
    )


def _fold(run: Run) -> str:
    return "" if run.fold is None else f" fold {run.fold}"
