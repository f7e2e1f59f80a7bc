"""Trainings inside a training: assistants, earlier generations, the teacher's own training once more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import msgspec
from torch import Tensor, nn

from kdbench.engine.augment import augmentation
from kdbench.engine.evaluate import predict
from kdbench.engine.seeding import TEACHER_SEED, derive, own_stream, seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher, StoredTeacher, TeacherSource
from kdbench.engine.teachers import Supervised, steps_per_epoch
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.errors import MethodRefused
from kdbench.method import Batch, Method, ModelInfo, Outputs
from kdbench.recipe import Recipe


class _Borrowed:
    """Another trainer's teacher, which stays open when this one is done with it."""

    def __init__(self, source: TeacherSource) -> None:
        self.module, self._source = source.module, source
        self.forward_samples = 0  # the owner counts

    def outputs(self, batch: Batch) -> Outputs:
        """What the owner's teacher says."""
        return self._source.outputs(batch)

    def close(self) -> None:
        """Nothing to release: the owner does."""


def frozen_source(trainer: Trainer, model: nn.Module, data: Views) -> TeacherSource:
    """The model as a teacher that does not move: run once where its inputs repeat every epoch, else on every batch."""
    model.requires_grad_(False).eval()
    needs = trainer.needs
    if trainer.augment is not None or not needs.stored or needs.teacher_features:
        return LiveTeacher(model, needs, type(model).__name__, trains=False)
    logits = predict(model, data.teacher, trainer.fabric).clone()  # out of inference mode, for a loss to save it
    return StoredTeacher(model, {"logits": logits}, len(logits))


def train_further(
    trainer: Trainer, model: ModelInfo, method: Method | None, purpose: tuple[object, ...], recipe: Recipe, data: Views,
    validation: Views,
) -> nn.Module:  # fmt: skip
    """Train another model on streams of its own: with a method from the trainer's present teacher, or on labels."""
    seed = derive(trainer.seed, "further", *purpose)
    source: TeacherSource = NoTeacher() if method is None else _Borrowed(trainer.teacher)
    with own_stream(trainer.seed, "further", *purpose):
        sub = _trainer(trainer, model, method or Supervised(), source, data, validation, recipe, seed)
        sub.run_epochs()
    sub.close()
    trainer.steps += sub.steps
    return sub.student


def repeat_teacher(trainer: Trainer, epochs: Collection[int], data: Views, validation: Views) -> dict[int, nn.Module]:
    """The run's teacher after each of these numbers of epochs of its training.

    The training is done again as far as needed, once for a teacher: its states are kept in the bank.
    """
    pair, recipe = trainer.pair, trainer.pair.teacher_recipe
    if recipe is None or pair.maker is None:
        raise MethodRefused(
            f"method {type(trainer.method).__name__} cannot follow the training of this teacher",
            "it came trained: how it was trained is not known",
            "choose a teacher that kdbench trains: leave teacher_checkpoint out",
        )
    recipe, asked = msgspec.structs.replace(recipe, precision=trainer.recipe.precision), sorted(set(epochs))

    def train() -> dict[str, Tensor]:
        return _states(trainer, asked, recipe, data, validation)

    states = trainer.made_of_teacher("states", [asked, recipe.precision], train)
    found = {}
    for epoch in asked:
        model = pair.maker.untrained_teacher().module
        model.load_state_dict({name: states[f"{epoch}/{name}"] for name in model.state_dict()})
        found[epoch] = model.requires_grad_(False).eval()
    return found


def _states(
    trainer: Trainer, epochs: Collection[int], recipe: Recipe, data: Views, validation: Views
) -> dict[str, Tensor]:
    """The teacher's parameters and buffers after each of these numbers of epochs, as EPOCH/NAME."""
    assert trainer.pair.maker is not None
    found: dict[str, Tensor] = {}
    with own_stream(TEACHER_SEED, "teacher"):
        model = trainer.pair.maker.untrained_teacher()
        seed_global(TEACHER_SEED, "teacher")
        sub = _trainer(trainer, model, Supervised(), NoTeacher(), data, validation, recipe, TEACHER_SEED)
        for epoch in range(max(epochs, default=0)):
            sub.train_epoch(epoch)
            sub.peers.average_buffers(sub.student)
            if epoch + 1 in epochs:
                found |= {f"{epoch + 1}/{name}": v.clone() for name, v in sub.student.state_dict().items()}
    sub.close()
    trainer.steps += sub.steps
    return found


def _trainer(
    trainer: Trainer, model: ModelInfo, method: Method, source: TeacherSource, data: Views, validation: Views,
    recipe: Recipe, seed: int,
) -> Trainer:  # fmt: skip
    steps = steps_per_epoch(len(data.labels), recipe.batch_size)
    return Trainer(
        fabric=trainer.fabric, method=method, teacher=source, train=data, validation=validation, recipe=recipe,
        seed=seed, pair=replace(trainer.pair, student=model, epochs=recipe.epochs, steps_per_epoch=steps),
        augment=augmentation(recipe.augment) if recipe.augment else None,
    )  # fmt: skip
