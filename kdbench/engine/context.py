"""What the runs of one process share, and the device they run on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from kdbench.catalog import Catalog
from kdbench.engine.datasets import Dataset, prepare, read
from kdbench.engine.loss_terms import Logs
from kdbench.engine.views import Views
from kdbench.place import ALONE, Place
from kdbench.plan import Run
from kdbench.recipe import Precision


class EpochListener:
    """Told about every epoch of the teacher, the student and the fine-tune; the default does nothing."""

    def __call__(self, phase: str, epoch: int, epochs: int, logs: Logs) -> None:
        """An epoch of a phase ended."""


@dataclass(frozen=True, eq=False)
class RunData:
    """A run's dataset, and its splits on the device as both models see them."""

    dataset: Dataset
    train: Views
    validation: Views
    test: Views


class RunContext:
    """The catalog, the results directory (with the teacher bank), and the dataset that was prepared last.

    `timed` keeps what a probe found of pairs.
    """

    def __init__(
        self, catalog: Catalog, directory: Path, *, plugins: dict[str, str], workers: int, place: Place = ALONE
    ) -> None:
        self.catalog, self.directory, self.place = catalog, directory, place
        self.plugins, self.workers = plugins, workers
        self.timed: dict[Any, dict[str, float]] = {}
        self.readers: Sequence[tuple[str, dict[str, Any]]] = ()
        self._last: tuple[tuple[str, int | None, int | None], Dataset] | None = None

    @property
    def bank(self) -> Path:
        """Where trained teachers and their signals are kept."""
        return self.directory / "teachers"

    def teacher_features(self) -> tuple[str, ...]:
        """The teacher's features that `readers`, methods with their parameters, take from the bank."""
        names: dict[str, None] = {}
        for method, params in self.readers:
            made = self.catalog.find("method", method).load()(**params)
            if not made.trains_teacher and made.needs.stored:
                names.update(dict.fromkeys(made.needs.teacher_features))
        return tuple(names)

    def data(self, run: Run, device: torch.device) -> RunData:
        """The run's data on the device."""
        key = (run.combo.dataset, run.fold, run.folds)
        if self._last is None or self._last[0] != key:
            raw = read(self.catalog.find("dataset", run.combo.dataset))
            self._last = key, prepare(run.combo.dataset, raw, fold=run.fold, folds=run.folds)
        dataset = self._last[1]
        student, teacher = dataset.view(run.combo.student_view), dataset.view(run.combo.teacher_view)
        splits = (dataset.train, dataset.validation, dataset.test)
        return RunData(dataset, *(Views.of(split, student, teacher, device, dataset.task) for split in splits))


def make_fabric(run: Run, precision: Precision, place: Place) -> Fabric:
    """Fabric for the run's device and a precision, with torch's determinism set as the run asks.

    Where several processes train the run, theirs are joined: the executor has started them, and Fabric starts none.
    """
    kind, _, index = run.device.partition(":")
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(run.deterministic)
    torch.backends.cudnn.benchmark = not run.deterministic
    if place.size == 1:
        devices: Any = [int(index)] if index else 1
        fabric = Fabric(accelerator=kind, devices=devices, precision=precision)
    else:
        _meet(place, kind)
        environment = LightningEnvironment()  # named, or a cluster's variables would decide what the ranks are
        fabric = Fabric(
            accelerator=kind, devices=place.size, strategy=DDPStrategy(), precision=precision, plugins=[environment]
        )
    fabric.launch()
    return fabric


def _meet(place: Place, kind: str) -> None:
    """Join the process group, once in a process. The parent ends a group that lost a member: nothing times out here."""
    if not torch.distributed.is_initialized():
        if kind == "cuda":
            torch.cuda.set_device(place.rank)
        torch.distributed.init_process_group(
            "nccl" if kind == "cuda" else "gloo",
            init_method=Path(place.meeting).as_uri(),
            rank=place.rank,
            world_size=place.size,
            timeout=timedelta(days=30),
        )
