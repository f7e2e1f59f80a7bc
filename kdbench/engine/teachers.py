"""A run's teacher: built, trained or loaded once, and what it says of the training items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from kdbench.engine.answering import all_items, came_trained, is_fitted
from kdbench.engine.augment import augmentation
from kdbench.engine.bank import Teacher, TrainedTeacher, get_teacher, teacher_key
from kdbench.engine.checkpoints import load_weights, weights_fingerprint
from kdbench.engine.context import EpochListener, RunContext, RunData, make_fabric
from kdbench.engine.evaluate import predict
from kdbench.engine.models import build_model, inspect_model
from kdbench.engine.peers import Peers
from kdbench.engine.seeding import TEACHER_SEED, seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher, StoredTeacher, TeacherSource, stored_signals
from kdbench.engine.tasks import Answers, kind_of
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.method import Batch, LossTerms, Method, Outputs, Pair
from kdbench.plan import Run
from kdbench.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Supervised(Method):
    """Cross-entropy on labels: trains teachers, and the final fine-tune of students."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor | LossTerms:
        """Mean cross-entropy."""
        return batch.cross_entropy(student.logits)


def obtain_teacher(run: Run, context: RunContext, data: RunData, on_epoch: EpochListener) -> Teacher:
    """The run's teacher from the bank, where it has none trained first with its own recipe, or fitted.

    Raises: ModelMismatch, CheckpointError; Diverged where its training leaves the finite numbers.
    """
    combo, dataset, recipe = run.combo, data.dataset, run.teacher_recipe
    fabric = make_fabric(run, recipe.precision, context.place)
    entry, info = context.catalog.find("teacher", combo.teacher), dataset.info(combo.teacher_view)
    seed_global(TEACHER_SEED, "student")
    model = fabric.to_device(build_model(entry, info))
    train, validation, test = (v.seen_by("teacher") for v in (data.train, data.validation, data.test))
    inspected = inspect_model(model, entry, info, train.student[:2], ())
    if combo.teacher_checkpoint is not None:
        load_weights(model, Path(combo.teacher_checkpoint).expanduser(), entry.name)
    pretrained = came_trained(combo, entry, model)
    fitted = not pretrained and is_fitted(model)

    def train_teacher(module: nn.Module) -> TrainedTeacher:
        if fitted and is_fitted(module):
            module.fit(all_items(train.student, entry.name), train.labels)
        elif not pretrained:
            pair = Pair(info, inspected, None, recipe.epochs, steps_per_epoch(len(train.labels), recipe.batch_size))
            train_supervised("teacher", fabric, pair, train, validation, recipe, TEACHER_SEED, on_epoch)
        found = answers(module, test, fabric)
        return TrainedTeacher(kind_of(dataset.task).score(found), found.values.astype(np.float32))

    made_by = weights_fingerprint(model) if pretrained else model.definition if is_fitted(model) else recipe
    together = (run.devices,) if run.devices > 1 and not pretrained else ()
    key = teacher_key(
        entry.name, info.view, dataset.fingerprint, run.fold, run.folds, made_by, run.device_kind, run.deterministic,
        *together,
    )  # fmt: skip
    return get_teacher(context.bank, key, entry.name, model, train_teacher, Peers(fabric))


def train_supervised(
    phase: str, fabric: Fabric, pair: Pair, train: Views, validation: Views, recipe: Recipe, seed: int,
    on_epoch: EpochListener,
) -> Trainer:  # fmt: skip
    """Train `pair.student` on labels alone; the finished trainer."""
    seed_global(seed, phase)
    trainer = Trainer(
        fabric=fabric, method=Supervised(), pair=pair, teacher=NoTeacher(), train=train, validation=validation,
        recipe=recipe, seed=seed, augment=augmentation(recipe.augment) if recipe.augment else None,
        on_epoch=lambda epoch, logs: on_epoch(phase, epoch, recipe.epochs, logs),
    )  # fmt: skip
    trainer.run_epochs()
    trainer.close()
    return trainer


def teacher_source(
    run: Run, method: Method, teacher: Teacher, train: Views, others: Callable[[], tuple[str, ...]], peers: Peers
) -> TeacherSource:
    """Where the trainer gets the teacher's outputs from: computed once where its inputs repeat every epoch.

    `others` tells the features that the other methods will ask of it, asked only where the teacher has to run.
    """
    needs, name = method.needs, run.combo.teacher
    if method.trains_teacher:
        return LiveTeacher(teacher.module, needs, name, trains=True)
    for parameter in teacher.module.parameters():
        parameter.requires_grad_(False)
    teacher.module.eval()
    if not needs.teacher:
        return NoTeacher()
    if not run.recipe.augment and needs.stored:
        directory = teacher.directory / "signals"
        stored = stored_signals(teacher.module, name, train.teacher, needs.teacher_features, directory, others, peers)
        if stored is not None:
            return StoredTeacher(teacher.module, *stored)
    return LiveTeacher(teacher.module, needs, name, trains=False)


def answers(model: nn.Module, data: Views, fabric: Fabric) -> Answers:
    """What the model says of a split, in evaluation mode, beside what is right."""
    return kind_of(data.task).answers(predict(model, data.student, fabric), data.truth)


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Mini-batches of an epoch; a last batch of a single item is left out."""
    full, rest = divmod(items, batch_size)
    return max(1, full + (rest > 1))
