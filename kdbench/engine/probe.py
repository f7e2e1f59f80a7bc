"""How long a run will take, from a short training by its own method."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from torch import nn

from kdbench.engine import cost as costs
from kdbench.engine.answering import Fitted, came_trained, is_fitted
from kdbench.engine.augment import augmentation
from kdbench.engine.bank import Teacher
from kdbench.engine.context import RunContext, RunData, make_fabric
from kdbench.engine.disk_view import part_of
from kdbench.engine.evaluate import BATCH, evaluate
from kdbench.engine.models import build_model
from kdbench.engine.pairs import make_pair
from kdbench.engine.peers import Peers
from kdbench.engine.signals import NoTeacher
from kdbench.engine.tasks import kind_of
from kdbench.engine.teachers import Supervised, answers, steps_per_epoch, teacher_source
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.method import Method, ModelInfo, Pair
from kdbench.place import ALONE
from kdbench.plan import Run
from kdbench.preparation import Watch
from kdbench.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_STEPS, _WARM_UP = 12, 4
_EPOCHS, _BATCHES = 2, 4
"""Of the short training. Stages that take a share of the training take the same share of it."""
_SLOW_SECONDS = 1.0
"""A first step that takes longer is followed by fewer."""
_WATCHED = 8
"""Items that the short training validates on; a pass over the validation split is timed by itself."""
_FITTED = 125
"""Items that an estimator is fitted to first for its time; then to twice as many, and so on."""
_FIT_SECONDS = 15.0
"""For all fits to parts; two there are in any case."""


def seconds_per_run(run: Run, context: RunContext) -> dict[str, float]:
    """Estimated seconds by phase.

    data: to read and prepare the dataset, next to nothing where this process has just done it; what it keeps on disk is
    not counted. teacher: to train it. signals: for what is kept of it. student: for the method's training, from a few
    of its own steps on a part of the data, and validation after every epoch. measure: for scores and speed. What a
    method does that cannot be timed so is left out, and `untimed` is 1.
    """
    fabric = make_fabric(run, run.recipe.precision, ALONE)
    watch = Watch()
    data = context.data(run, fabric.device)
    seconds = {"data": watch.seconds - watch.kept}
    combo = run.combo
    recipes = (msgspec.json.encode(run.recipe), msgspec.json.encode(run.teacher_recipe))
    key = (combo.dataset, combo.pair, combo.teacher_checkpoint, run.fold, *recipes)
    if key not in context.timed:
        context.timed[key] = _timed_pair(run, context, fabric, data)
    seconds |= context.timed[key]
    epochs = run.recipe.epochs
    try:
        with tempfile.TemporaryDirectory(prefix="kdbench-probe-") as directory:
            step = _Short(run, context, fabric, data, Path(directory)).seconds_per_step()
    except Exception:  # noqa: BLE001 - a short training is not what methods promise to serve; the estimate says so
        traceback.print_exc()  # whole, into the worker's log
        step, seconds["untimed"] = seconds["plain_step"], 1.0
    steps = steps_per_epoch(len(data.train.labels), run.recipe.batch_size)
    validating = seconds.pop("validating")
    seconds["student"] = epochs * (step * steps + validating)
    seconds["student"] += run.recipe.finetune_epochs * (seconds.pop("plain_step") * steps + validating)
    return seconds


def _timed_pair(run: Run, context: RunContext, fabric: Fabric, data: RunData) -> dict[str, float]:
    """What every method of the pair shares: the teacher, its signals, validation and measurements of the student."""
    combo, dataset = run.combo, data.dataset
    teacher_entry, student_entry = (
        context.catalog.find("teacher", combo.teacher),
        context.catalog.find("student", combo.student),
    )
    teacher_info, info = dataset.info(combo.teacher_view), dataset.info(combo.student_view)
    teacher = fabric.to_device(build_model(teacher_entry, teacher_info))
    student = fabric.to_device(build_model(student_entry, info))
    seen = [split.seen_by("teacher") for split in (data.train, data.validation, data.test)]
    found = {"teacher": _fitting(fabric, teacher, seen[0]) if is_fitted(teacher) else 0.0}
    watched = _evenly(seen[1], BATCH)
    answering = _again(fabric, lambda: evaluate(teacher, watched, fabric)) / len(watched.labels)
    if not (is_fitted(teacher) or came_trained(combo, teacher_entry, teacher)):
        pair = Pair(teacher_info, ModelInfo("teacher", teacher), None, run.teacher_recipe.epochs, 1)
        step = _plain_step(fabric, pair, seen[0], run.teacher_recipe)
        epoch = step * steps_per_epoch(len(data.train.labels), run.teacher_recipe.batch_size)
        found["teacher"] = run.teacher_recipe.epochs * (epoch + answering * len(seen[1].labels))
    found["teacher"] += answering * len(data.test.labels)
    found["signals"] = 0.0 if run.recipe.augment else answering * len(data.train.labels)
    pair = Pair(info, ModelInfo("student", student), None, run.recipe.epochs, 1)
    found["plain_step"] = _plain_step(fabric, pair, data.train.seen_by("student"), run.recipe)
    found["validating"] = _again(fabric, lambda: evaluate(student, data.validation, fabric))
    found["measure"] = _seconds(fabric, lambda: _measure(student, data, fabric))
    return found


def _fitting(fabric: Fabric, teacher: Fitted, train: Views) -> float:
    """Seconds to fit it to all items, from fits to a part, to twice as many, and so on for some seconds.

    Beyond the last one, time goes with the power of the number of items that it went with between the last two, which
    is not the first in general and changes with that number: that of text grows with its vocabulary.
    """
    items, everything = min(_FITTED, len(train.labels)), len(train.labels)
    fits: list[tuple[int, float]] = []
    while True:
        part = _evenly(train, items)
        if len(set(part.labels.tolist())) > 1 or items == everything:
            fits.append((items, _seconds(fabric, lambda: teacher.fit(part.student[:], part.labels))))  # noqa: B023
        if items == everything:
            return fits[-1][1]
        more, spent = min(2 * items, everything), sum(seconds for _, seconds in fits)
        if len(fits) > 1 and spent + fits[-1][1] * more / items > _FIT_SECONDS:
            break
        items = more
    (before, less), (_, seconds) = fits[-2:]
    power: float = log(seconds / less, items / before) if less and seconds else 1.0
    return seconds * float((everything / items) ** min(max(power, 0.0), 2.0))


def _measure(student: nn.Module, data: RunData, fabric: Fabric) -> None:
    for split in (data.validation, data.test):
        kind_of(split.task).score(answers(student, split, fabric))
    costs.measure_throughput(student, data.test.student)
    costs.flops(student, data.test.student[:1])


def _plain_step(fabric: Fabric, pair: Pair, train: Views, recipe: Recipe) -> float:
    """Seconds of a training step on labels and its batch, from a few of the real loop, after the first ones."""
    trainer = Trainer(
        fabric=fabric, method=Supervised(), pair=pair, teacher=NoTeacher(), train=train, validation=train,
        recipe=recipe, seed=0, augment=augmentation(recipe.augment) if recipe.augment else None,
    )  # fmt: skip
    times: list[float] = []
    while len(times) < _STEPS:
        for batch in trainer.batches(len(times)):
            times.append(_seconds(fabric, lambda: trainer.method.step(trainer, batch)))  # noqa: B023 - called at once
            if len(times) == _STEPS or sum(times) > 2 * _SLOW_SECONDS:
                break
        if sum(times) > 2 * _SLOW_SECONDS:
            break
    trainer.close()
    return median(times[_WARM_UP:] or times) + trainer.batch_seconds / len(times)


@dataclass(frozen=True)
class _Short:
    """The run's own training, with an untrained teacher, on a part of the data."""

    run: Run
    context: RunContext
    fabric: Fabric
    data: RunData
    directory: Path

    def seconds_per_step(self) -> float:
        """All that the method does in its training, by the steps that the recipe asks for."""
        first = self._train(1, 1)[0]  # imports, kernels, memory: what only a first step takes
        slow = first > _SLOW_SECONDS
        seconds, steps = self._train(1, 2) if slow else self._train(_EPOCHS, _BATCHES)
        return seconds / steps

    def _train(self, epochs: int, batches: int) -> tuple[float, int]:
        """Seconds of a training of so many epochs and batches, and its steps."""
        run, fabric, catalog, combo = self.run, self.fabric, self.context.catalog, self.run.combo
        part = _evenly(self.data.train, batches * run.recipe.batch_size)
        data = replace(self.data, train=part, validation=_evenly(self.data.validation, _WATCHED))
        recipe = msgspec.structs.replace(run.recipe, epochs=epochs, patience=None)
        shortened = msgspec.structs.replace(
            run, recipe=recipe, teacher_recipe=msgspec.structs.replace(run.teacher_recipe, epochs=epochs)
        )
        method: Method = catalog.find("method", combo.method).load()(**run.params)
        dataset = self.data.dataset
        teacher, student = (
            fabric.to_device(build_model(catalog.find(kind, name), dataset.info(view)))  # type: ignore[arg-type]
            for kind, name, view in (
                ("teacher", combo.teacher, combo.teacher_view),
                ("student", combo.student, combo.student_view),
            )
        )
        if is_fitted(teacher):
            teacher.fit(part.teacher[:], part.labels)
        pair = make_pair(shortened, catalog, data, student, teacher, method)
        kept = Teacher(teacher, "", {}, np.zeros(0, np.float32), self.directory / f"{epochs}-{batches}", 0.0)
        source = teacher_source(shortened, method, kept, part, tuple, Peers(fabric))
        trainer = Trainer(
            fabric=fabric, method=method, pair=pair, teacher=source, train=part, validation=data.validation,
            recipe=recipe, seed=0, augment=augmentation(recipe.augment) if recipe.augment else None,
        )  # fmt: skip
        seconds = _seconds(fabric, lambda: method.fit(trainer))
        trainer.close()
        return seconds, epochs * pair.steps_per_epoch


def _evenly(views: Views, items: int) -> Views:
    """So many of the items, evenly spaced: data that comes sorted by class keeps its classes."""
    chosen = torch.linspace(0, len(views.labels) - 1, min(items, len(views.labels))).long().to(views.labels.device)
    student = part_of(views.student, chosen)
    return replace(
        views,
        student=student,
        teacher=student if views.teacher is views.student else part_of(views.teacher, chosen),
        labels=views.labels[chosen],
        targets=None if views.targets is None else views.targets[chosen],
        parts=None if views.parts is None else views.parts[chosen],
        index=None if views.index is None else views.index[chosen.cpu()],
    )


def _seconds(fabric: Fabric, work: Callable[[], object]) -> float:
    costs.synchronize(fabric.device)
    started = time.perf_counter()
    work()
    costs.synchronize(fabric.device)
    return time.perf_counter() - started


def _again(fabric: Fabric, work: Callable[[], object]) -> float:
    """Of the second time: the first one pays for memory and caches, which in a slow one does not show."""
    first = _seconds(fabric, work)
    return first if first > _SLOW_SECONDS else _seconds(fabric, work)
