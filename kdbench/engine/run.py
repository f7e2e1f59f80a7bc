"""One run, from the data to its record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from kdbench.catalog import Catalog, Entry
from kdbench.data import DatasetInfo
from kdbench.engine import cost as costs
from kdbench.engine.augment import augmentation
from kdbench.engine.bank import Teacher, TrainedTeacher, get_teacher, teacher_key
from kdbench.engine.checkpoints import load_weights
from kdbench.engine.datasets import Dataset, prepare
from kdbench.engine.evaluate import predict
from kdbench.engine.metrics import confusion, score
from kdbench.engine.models import build_model, inspect_model
from kdbench.engine.provenance import provenance
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher, StoredTeacher, TeacherSource, stored_signals
from kdbench.engine.train import Logs, Trainer, Views
from kdbench.errors import Diverged
from kdbench.method import Batch, LossTerms, Method, Outputs, Pair
from kdbench.plan import Run
from kdbench.plugins import describe
from kdbench.recipe import Recipe
from kdbench.records import Cost, Record, Throughput

if TYPE_CHECKING:
    from torch import Tensor

TEACHER_SEED = 0
EpochListener = Callable[[str, int, int, Logs], None]
Predictions = dict[str, NDArray[Any]]


class _Supervised(Method):
    """Cross-entropy on labels: trains teachers, and the final fine-tune of students."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor | LossTerms:
        return batch.cross_entropy(student.logits)


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


class RunContext:
    """What the runs of one process share: the catalog, the bank, and the datasets already prepared."""

    def __init__(self, catalog: Catalog, directory: Path, *, plugins: dict[str, str], workers: int, command: str) -> None:
        self.catalog, self.directory = catalog, directory
        self.plugins, self.workers, self.command = plugins, workers, command
        self._datasets: dict[tuple[str, int | None, int | None], Dataset] = {}

    def dataset(self, name: str, fold: int | None, folds: int | None) -> Dataset:
        """The prepared dataset; the last one is kept for the next run."""
        key = (name, fold, folds)
        if key not in self._datasets:
            self._datasets = {key: prepare(name, self.catalog.find("dataset", name).load()(), fold=fold, folds=folds)}
        return self._datasets[key]


def execute_run(run: Run, context: RunContext, on_epoch: EpochListener) -> tuple[Record, Predictions]:
    """Train, evaluate and measure; a failure becomes a record that says why.

    `on_epoch(phase, epoch, epochs, logs)` is called after every epoch of the teacher, the student and the fine-tune.
    """
    started = _now()
    try:
        return _execute(run, context, on_epoch, started)
    except Diverged as error:
        return failure_record(run, "diverged", describe(error), started), {}
    except Exception as error:  # noqa: BLE001 - one run's fault costs only that run; the record keeps it
        return failure_record(run, "failed", describe(error), started), {}


def failure_record(run: Run, status: Any, error: str, started: str) -> Record:
    """The record of a run that did not end well."""
    return Record(**_identity(run), status=status, error=error, started=started, finished=_now())


def _execute(run: Run, context: RunContext, on_epoch: EpochListener, started: str) -> tuple[Record, Predictions]:
    combo, clock = run.combo, _Clock()
    fabric = _fabric(run)
    method: Method = context.catalog.find("method", combo.method).load()(**run.params)
    memory = costs.PeakMemory(fabric.device)
    with clock.phase("data"):
        dataset = context.dataset(combo.dataset, run.fold, run.folds)
        student_view, teacher_view = dataset.view(combo.student_view), dataset.view(combo.teacher_view)
        train, validation, test = (
            Views.of(split, student_view, teacher_view, fabric.device)
            for split in (dataset.train, dataset.validation, dataset.test)
        )
    with clock.phase("teacher"):
        teacher_entry = context.catalog.find("teacher", combo.teacher)
        teacher_info = dataset.info(combo.teacher_view)
        key, teacher = _teacher(run, context, fabric, dataset, teacher_entry, teacher_info, (train, validation, test), on_epoch)
    seed_global(run.seed, "student")
    student_entry = context.catalog.find("student", combo.student)
    student_info = dataset.info(combo.student_view)
    student = fabric.to_device(build_model(student_entry, student_info))
    needs = method.needs
    pair = Pair(
        dataset=student_info,
        student=inspect_model(student, student_entry, student_info, train.student[:2], needs.student_features),
        teacher=inspect_model(teacher.module, teacher_entry, teacher_info, train.teacher[:2], needs.teacher_features),
        epochs=run.recipe.epochs,
        steps_per_epoch=_steps(len(train.labels), run.recipe.batch_size),
    )
    method.check(pair)
    with clock.phase("signals"):
        source = _source(run, method, teacher, teacher_entry.name, train)
    seed_global(run.seed, "training")
    trainer = Trainer(
        fabric=fabric, method=method, pair=pair, teacher=source, train=train, validation=validation, recipe=run.recipe,
        seed=run.seed, augment=augmentation(run.recipe.augment) if run.recipe.augment else None,
        on_epoch=lambda epoch, logs: on_epoch("train", epoch, run.recipe.epochs, logs),
    )  # fmt: skip
    with memory, clock.phase("train"):
        method.fit(trainer)
    trainer.close()
    model, history, steps = trainer.student, trainer.history, trainer.steps
    if run.recipe.finetune_epochs:
        with clock.phase("finetune"):
            tuned = _finetune(run, fabric, pair, model, train, validation, on_epoch)
        history, steps = [*history, *tuned.history], steps + tuned.steps
    with clock.phase("evaluate"):
        probabilities = _probabilities(model, test.student, fabric)
        validation_probabilities = _probabilities(model, validation.student, fabric)
        labels = dataset.test.labels.numpy()
        metrics = score(probabilities, labels, teacher_probabilities=teacher.test_probabilities.astype(np.float64))
        metrics |= _plugin_metrics(context.catalog, run.task, probabilities, labels)
        val_metrics = score(validation_probabilities, dataset.validation.labels.numpy())
    with clock.phase("throughput"):
        throughput = costs.measure_throughput(model, test.student)
        flops = costs.flops(model, test.student[:1])
    throughput.train_samples_per_s = _train_speed(steps, run.recipe.batch_size, len(train.labels), clock)
    return Record(
        **_identity(run),
        status="ok",
        metrics=metrics,
        val_metrics=val_metrics,
        teacher_metrics=teacher.metrics,
        confusion=confusion(probabilities, labels, len(dataset.classes)),
        throughput=throughput,
        cost=Cost(
            parameters=costs.parameters(model),
            teacher_parameters=costs.parameters(teacher.module),
            flops=flops,
            bytes=costs.stored_bytes(model),
            peak_memory_bytes=memory.peak_bytes,
            seconds={name: round(value, 6) for name, value in clock.seconds.items()},
            steps=steps,
            teacher_forward_samples=source.forward_samples,
        ),
        history=history,
        selected_epoch=trainer.selected_epoch,
        provenance=_provenance(run, context, fabric, dataset, teacher),
        started=started,
        finished=_now(),
    ), {"probabilities": probabilities.astype(np.float32), "labels": labels}


def _fabric(run: Run) -> Fabric:
    kind, _, index = run.device.partition(":")
    devices: Any = [int(index)] if index else 1
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(run.deterministic)
    torch.backends.cudnn.benchmark = not run.deterministic
    fabric = Fabric(accelerator=kind, devices=devices, precision=run.recipe.precision)
    fabric.launch()
    return fabric


def _teacher(
    run: Run, context: RunContext, fabric: Fabric, dataset: Dataset, entry: Entry, info: DatasetInfo,
    splits: tuple[Views, Views, Views], on_epoch: EpochListener,
) -> tuple[str, Teacher]:  # fmt: skip
    seed_global(TEACHER_SEED, "student")
    model = fabric.to_device(build_model(entry, info))
    train, validation, test = (Views(v.teacher, v.teacher, v.labels) for v in splits)
    inspected = inspect_model(model, entry, info, train.student[:2], ())
    recipe = run.teacher_recipe
    if run.combo.teacher_checkpoint is not None:
        load_weights(model, Path(run.combo.teacher_checkpoint).expanduser(), entry.name)
    pretrained = run.combo.teacher_checkpoint is not None or bool(entry.metadata.get("pretrained"))

    def train_teacher(module: nn.Module) -> TrainedTeacher:
        if not pretrained:
            pair = Pair(info, inspected, None, recipe.epochs, _steps(len(train.labels), recipe.batch_size))
            seed_global(TEACHER_SEED, "training")
            trainer = Trainer(
                fabric=fabric, method=_Supervised(), pair=pair, teacher=NoTeacher(), train=train,
                validation=validation, recipe=recipe, seed=TEACHER_SEED,
                augment=augmentation(recipe.augment) if recipe.augment else None,
                on_epoch=lambda epoch, logs: on_epoch("teacher", epoch, recipe.epochs, logs),
            )  # fmt: skip
            trainer.run_epochs()
            trainer.close()
        probabilities = _probabilities(module, test.student, fabric)
        return TrainedTeacher(score(probabilities, dataset.test.labels.numpy()), probabilities.astype(np.float32))

    weights = _content(model) if pretrained else None
    trained_by = None if pretrained else recipe
    key = teacher_key(entry.name, info.view, dataset.fingerprint, trained_by, weights, run.device, run.deterministic)
    return key, get_teacher(context.directory / "teachers", key, entry.name, model, train_teacher)


def _content(model: nn.Module) -> str:
    from kdbench.engine.checkpoints import weights_fingerprint

    return weights_fingerprint(model)


def _source(run: Run, method: Method, teacher: Teacher, name: str, train: Views) -> TeacherSource:
    needs = method.needs
    if method.trains_teacher:
        return LiveTeacher(teacher.module, needs, name, trains=True)
    for parameter in teacher.module.parameters():
        parameter.requires_grad_(False)
    teacher.module.eval()
    if not needs.teacher:
        return NoTeacher()
    repeats = not run.recipe.augment and not needs.input_grad
    stored = (
        stored_signals(teacher.module, name, train.teacher, needs.teacher_features, teacher.directory / "signals")
        if repeats
        else None
    )
    if stored is None:
        return LiveTeacher(teacher.module, needs, name, trains=False)
    return StoredTeacher(teacher.module, *stored)


def _finetune(
    run: Run, fabric: Fabric, pair: Pair, model: nn.Module, train: Views, validation: Views, on_epoch: EpochListener
) -> Trainer:
    recipe = _finetune_recipe(run.recipe)
    trainer = Trainer(
        fabric=fabric, method=_Supervised(), pair=pair, teacher=NoTeacher(), train=train, validation=validation,
        recipe=recipe, seed=run.seed,
        augment=augmentation(recipe.augment) if recipe.augment else None,
        on_epoch=lambda epoch, logs: on_epoch("finetune", epoch, recipe.epochs, logs),
    )  # fmt: skip
    trainer.run_epochs()
    trainer.close()
    return trainer


def _finetune_recipe(recipe: Recipe) -> Recipe:
    import msgspec

    lr = recipe.finetune_lr if recipe.finetune_lr is not None else recipe.lr / 10
    return msgspec.structs.replace(recipe, epochs=recipe.finetune_epochs, lr=lr, warmup_epochs=0, finetune_epochs=0)


def _probabilities(model: nn.Module, inputs: Tensor, fabric: Fabric) -> NDArray[np.float64]:
    return predict(model, inputs, fabric).double().softmax(1).cpu().numpy()


def _plugin_metrics(catalog: Catalog, task: str, probabilities: Any, labels: Any) -> dict[str, float | None]:
    return {
        entry.name: float(entry.load()(probabilities, labels))
        for entry in catalog.entries("metric")
        if task in entry.metadata.get("tasks", (task,))
    }


def _train_speed(steps: int, batch: int, items: int, clock: _Clock) -> float | None:
    seconds = clock.seconds["train"] + clock.seconds.get("finetune", 0.0)
    per_epoch = _steps(items, batch)
    return round(steps / per_epoch * items / seconds, 1) if steps and seconds else None


def _steps(items: int, batch_size: int) -> int:
    """Mini-batches of an epoch; a last batch of a single item is left out."""
    full, rest = divmod(items, batch_size)
    return max(1, full + (rest > 1))


def _identity(run: Run) -> dict[str, Any]:
    import msgspec

    combo = run.combo
    return {
        "run_id": run.run_id, "combo": run.name, "dataset": combo.dataset, "task": run.task,
        "teacher": combo.teacher, "student": combo.student,
        "teacher_view": combo.teacher_view, "student_view": combo.student_view,
        "method": combo.method, "params": run.params, "overrides": run.overrides,
        "recipe": combo.recipe, "recipe_settings": msgspec.to_builtins(run.recipe),
        "recipe_overrides": run.recipe_overrides, "teacher_recipe": combo.teacher_recipe or combo.recipe,
        "seed": run.seed, "fold": run.fold, "folds": run.folds,
    }  # fmt: skip


def _provenance(run: Run, context: RunContext, fabric: Fabric, dataset: Dataset, teacher: Teacher) -> Any:
    from kdbench import kernels

    return provenance(
        plugins=context.plugins,
        device=str(fabric.device),
        workers=context.workers,
        deterministic=run.deterministic,
        kernel_backend=kernels.backend_name(fabric.device),
        dataset_fingerprint=dataset.fingerprint,
        teacher_fingerprint=teacher.fingerprint,
        command=f"{context.command} --seed {run.seed}",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
