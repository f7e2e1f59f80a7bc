"""What the commands that execute runs share: how to run, and what to refuse before anything does."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kdbench.cores import threads_of, usable_cores
from kdbench.device import check_devices, resolve_device
from kdbench.errors import UnknownName
from kdbench.executors import Execution
from kdbench.names import did_you_mean
from kdbench.outcomes import now
from kdbench.plan import Repeats
from kdbench.plugins import Plugins


def make_repeats(
    seeds: tuple[int, ...],
    device: str,
    devices: int,
    deterministic: bool | None,
    folds: int | None = None,
    measures: tuple[str, ...] = (),
) -> Repeats:
    """The seeds and the device of a plan. Raises: DeviceRefused."""
    device = resolve_device(device)
    check_devices(device, devices)
    return Repeats(
        seeds=seeds,
        folds=folds,
        device=device,
        devices=devices,
        deterministic=device == "cpu" if deterministic is None else deterministic,
        measures=measures,
    )


def make_execution(
    plugins: Plugins, directory: Path, repeats: Repeats, *, workers: int | None, max_time: float | None
) -> Execution:
    """How to run: all cores shared by the workers, or as many threads as OMP_NUM_THREADS says; a GPU is one run's."""
    workers = workers or (max(1, usable_cores() // repeats.devices) if repeats.device == "cpu" else 1)
    return Execution(
        directory=directory,
        started=now(),
        workers=workers,
        threads=threads_of(workers * repeats.devices),
        max_time=max_time,
        blocked=tuple(plugin.name for plugin in plugins.plugins if plugin.blocked),
    )


def check_metric(plugins: Plugins, metric: str | None, measured: Iterable[str]) -> None:
    """Refuse an unknown metric before anything runs, not after; `measured` are those of the model that runs have."""
    from kdbench.metric_info import METRICS

    answers = (entry.name for entry in plugins.catalog.entries("metric") if entry.metadata.get("of") != "model")
    known = [*METRICS, *answers, *sorted(measured)]
    if metric is not None and metric not in known:
        raise UnknownName(f"unknown metric {metric!r}", did_you_mean(metric, known), f"known: {', '.join(known)}")


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the command as an interrupt does: workers stopped, finished runs kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
