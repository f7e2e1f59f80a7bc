"""How long a run will take, from a few of its steps."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from kdbench.data import DatasetInfo
from kdbench.engine.answering import Fitted, came_trained, is_fitted
from kdbench.engine.augment import augmentation
from kdbench.engine.context import RunContext, RunData, make_fabric
from kdbench.engine.cost import measure_throughput, synchronize
from kdbench.engine.evaluate import evaluate
from kdbench.engine.models import build_model
from kdbench.engine.signals import NoTeacher
from kdbench.engine.teachers import Supervised, steps_per_epoch
from kdbench.engine.train import Trainer
from kdbench.method import ModelInfo, Pair, View
from kdbench.place import ALONE
from kdbench.plan import Run
from kdbench.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_STEPS, _WARM_UP = 12, 4
_PART = 4


def seconds_per_run(run: Run, context: RunContext) -> dict[str, float]:
    """Estimated seconds to train the run's teacher and its student, and to measure the student.

    Each model is trained on labels for a few steps of its recipe, an estimator on a part of the items, a teacher that
    comes trained not at all; what a method adds is not in it.
    """
    fabric = make_fabric(run, run.recipe.precision, ALONE)
    data = context.data(run, fabric.device)
    combo, dataset = run.combo, data.dataset
    seconds = {}
    for kind, name, view, recipe in (
        ("teacher", combo.teacher, combo.teacher_view, run.teacher_recipe),
        ("student", combo.student, combo.student_view, run.recipe),
    ):
        entry = context.catalog.find(kind, name)  # type: ignore[arg-type]
        model = fabric.to_device(build_model(entry, dataset.info(view)))
        if kind == "teacher" and came_trained(combo, entry, model):
            seconds[kind] = 0.0
            continue
        if kind == "teacher" and is_fitted(model):
            seconds[kind] = _fitting_seconds(model, data)
            continue
        described = ModelInfo(kind, model)
        seconds[kind] = _training_seconds(fabric, described, dataset.info(view), data, recipe)
    started = time.perf_counter()
    measure_throughput(model, data.test.student)
    seconds["measure"] = time.perf_counter() - started
    return seconds


def _fitting_seconds(teacher: Fitted, data: RunData) -> float:
    """From a fit on a part of the items, as if it took as much longer as there are more items."""
    train = data.train.seen_by("teacher")
    part = slice(None, None, _PART)
    started = time.perf_counter()
    teacher.fit(train.student[part], train.labels[part])
    return (time.perf_counter() - started) * _PART


def _training_seconds(fabric: Fabric, model: ModelInfo, info: DatasetInfo, data: RunData, recipe: Recipe) -> float:
    """From a few steps of the real training loop, after the first ones, and one pass over the validation split."""
    view: View = "student" if model.name == "student" else "teacher"
    train, validation = data.train.seen_by(view), data.validation.seen_by(view)
    steps = steps_per_epoch(len(train.labels), recipe.batch_size)
    trainer = Trainer(
        fabric=fabric, method=Supervised(), pair=Pair(info, model, None, recipe.epochs, steps), teacher=NoTeacher(),
        train=train, validation=validation, recipe=recipe, seed=0,
        augment=augmentation(recipe.augment) if recipe.augment else None,
    )  # fmt: skip
    times: list[float] = []
    for epoch in range(_STEPS):
        for batch in trainer.batches(epoch):
            started = time.perf_counter()
            trainer.method.step(trainer, batch)
            synchronize(fabric.device)
            times.append(time.perf_counter() - started)
            if len(times) == _STEPS:
                break
        if len(times) == _STEPS:
            break
    trainer.close()
    evaluate(model.module, validation, fabric)
    started = time.perf_counter()
    evaluate(model.module, validation, fabric)
    validating = time.perf_counter() - started
    return (recipe.epochs + recipe.finetune_epochs) * (median(times[_WARM_UP:] or times) * steps + validating)
