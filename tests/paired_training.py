"""Training a method on small real data, for the behavioural tests of families of methods."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.models import inspect_model
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher
from kdbench.engine.teachers import Supervised
from kdbench.engine.train import Trainer, Views
from kdbench.method import ModelInfo, Pair

Build = Callable[[DatasetInfo], nn.Module]
FABRIC = Fabric(accelerator="cpu", devices=1)
LOGS = {"loss", "ce", "epoch", "lr"}


@dataclass(frozen=True)
class Setting:
    """Data as both models see it, a trained teacher, and how students are built and trained."""

    info: DatasetInfo
    teacher_info: DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module
    student: Build
    recipe: kdbench.Recipe

    def pair(self, method: kdbench.Method, student: nn.Module) -> Pair:
        """The pair as the engine describes it."""
        models = [
            inspect_model(model, Entry("student", name, None, "kdbench"), info, inputs[:2], features)
            for name, model, info, inputs, features in (
                ("student", student, self.info, self.train.student, method.needs.student_features),
                ("teacher", self.teacher, self.teacher_info, self.train.teacher, method.needs.teacher_features),
            )
        ]
        steps = -(-len(self.train.labels) // self.recipe.batch_size)
        return Pair(self.info, *models, self.recipe.epochs, steps, teacher_dataset=self.teacher_info)


@dataclass(frozen=True)
class Trained:
    """A finished trainer, and the method's parameters as they were built."""

    trainer: Trainer
    built: dict[str, Tensor] = field(default_factory=dict)


def setting(
    data: kdbench.Data,
    *,
    views: tuple[str, str] | None = None,
    teacher: Build,
    student: Build,
    recipe: kdbench.Recipe,
    teacher_recipe: kdbench.Recipe | None = None,
) -> Setting:
    """The data prepared, and a teacher trained on its view; `views` are the student's and the teacher's."""
    dataset = prepare("tested", data, fold=None, folds=None)
    one, other = views or (dataset.view(None), dataset.view(None))
    train, validation = (Views.of(split, one, other, FABRIC.device) for split in (dataset.train, dataset.validation))
    info, teacher_info = dataset.info(one), dataset.info(other)
    seed_global(0, "teacher")
    module = teacher(teacher_info)
    recipe_of_teacher = teacher_recipe or recipe
    alone = [Views(part.teacher, part.teacher, part.labels) for part in (train, validation)]
    steps = -(-len(train.labels) // recipe_of_teacher.batch_size)
    pair = Pair(teacher_info, ModelInfo("teacher", module), None, recipe_of_teacher.epochs, steps)
    trainer = Trainer(
        fabric=FABRIC, method=Supervised(), pair=pair, teacher=NoTeacher(), train=alone[0], validation=alone[1],
        recipe=recipe_of_teacher, seed=0,
    )  # fmt: skip
    trainer.run_epochs()
    trainer.close()
    return Setting(info, teacher_info, train, validation, module.requires_grad_(False).eval(), student, recipe)


def trained(where: Setting, method: kdbench.Method, recipe: kdbench.Recipe | None = None) -> Trained:
    """A student trained with the method from seed 1."""
    seed_global(1, "student")
    pair = where.pair(method, where.student(where.info))
    method.check(pair)
    seed_global(1, "training")
    trainer = Trainer(
        fabric=FABRIC, method=method, pair=pair,
        teacher=LiveTeacher(where.teacher, method.needs, "teacher", trains=False), train=where.train,
        validation=where.validation, recipe=recipe or where.recipe, seed=1,
    )  # fmt: skip
    built = {} if method.module is None else {n: p.detach().clone() for n, p in method.module.named_parameters()}
    method.fit(trainer)
    trainer.close()
    return Trained(trainer, built)


def check_training(
    where: Setting, make: Callable[[], kdbench.Method], *, answers: bool = True, recipe: kdbench.Recipe | None = None
) -> Trained:
    """What every method promises in training; its own terms fall from the first epoch that has them to the last.

    `answers`: the method trains the student's answers, not its features alone, so that they get better on validation.
    """
    before = copy.deepcopy(where.teacher.state_dict())
    method = make()
    found = trained(where, method, recipe)
    history = found.trainer.history
    own = {name for row in history for name in row if name not in LOGS and not name.startswith("val_")}
    for name in own or {"ce"}:
        values = [row[name] for row in history if name in row]
        assert values[-1] < values[0], f"{name} did not fall: {values}"
    if answers:
        assert history[-1]["val_loss"] < history[0]["val_loss"]
    for name, value in where.teacher.state_dict().items():
        assert value.equal(before[name]), f"{name} of the teacher moved"
    for name, value in found.built.items():
        assert not value.equal(method.module.get_parameter(name)), f"{name} of the method did not move"
    again = trained(where, make(), recipe)
    assert again.trainer.history == history
    for name, value in found.trainer.student.state_dict().items():
        assert value.equal(again.trainer.student.state_dict()[name]), f"{name} differs between two trainings"
    return found
