"""Small trainings on digits that tests of several families share: a teacher that has learnt a little, its students."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Entry
from kdbench.engine.datasets import prepare
from kdbench.engine.models import inspect_model
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher, TeacherSource
from kdbench.engine.teachers import Supervised
from kdbench.engine.train import Trainer, Views
from kdbench.method import ModelInfo, Pair
from kdbench_data.bundled import digits
from kdbench_models.cnn import cnn_m, cnn_s

Build = Callable[[kdbench.DatasetInfo], nn.Module]
FABRIC = Fabric(accelerator="cpu", devices=1)
RECIPE = kdbench.Recipe(epochs=2, batch_size=64, select="last")


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training: the teacher that was in it, and the method's own parameters as they were built."""

    trainer: Trainer
    teacher: nn.Module
    built: dict[str, Tensor]

    @property
    def own_terms(self) -> set[str]:
        """The logged loss terms beside cross-entropy."""
        row = self.trainer.history[0]
        return {name for name in row if name not in {"loss", "ce", "epoch", "lr"} and not name.startswith("val_")}


@dataclass(frozen=True, eq=False)
class Bench:
    info: kdbench.DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module

    def pair(self, student: nn.Module, teacher: nn.Module, method: kdbench.Method, recipe: kdbench.Recipe) -> Pair:
        inspected = [
            inspect_model(model, Entry(kind, kind, None, "kdbench"), self.info, self.train.student[:2], features)
            for kind, model, features in (
                ("student", student, method.needs.student_features),
                ("teacher", teacher, method.needs.teacher_features),
            )
        ]
        return Pair(self.info, *inspected, recipe.epochs, -(-len(self.train.labels) // recipe.batch_size))

    def distil(self, method: kdbench.Method, build: Build = cnn_s, *, seed: int = 1, **recipe: Any) -> Trained:
        """Train a student with the method, on a copy of the teacher."""
        settings = kdbench.Recipe(**{"epochs": 2, "batch_size": 64, "select": "last"} | recipe)
        teacher = copy.deepcopy(self.teacher).requires_grad_(method.trains_teacher)
        seed_global(seed, "student")
        student = build(self.info)
        pair = self.pair(student, teacher, method, settings)
        method.check(pair)
        seed_global(seed, "training")
        source: TeacherSource = NoTeacher()
        if method.needs.teacher or method.trains_teacher:
            source = LiveTeacher(teacher, method.needs, "teacher", trains=method.trains_teacher)
        trainer = Trainer(
            fabric=FABRIC, method=method, pair=pair, teacher=source, train=self.train, validation=self.validation,
            recipe=settings, seed=seed,
        )  # fmt: skip
        built = {} if method.module is None else {n: p.detach().clone() for n, p in method.module.named_parameters()}
        method.fit(trainer)
        trainer.close()
        return Trained(trainer, teacher, built)


def make_bench(build: Build = cnn_m) -> Bench:
    """Digits, and a teacher that was trained on them for two epochs."""
    dataset = prepare("digits", digits(), fold=None, folds=None)
    view = dataset.view(None)
    train, validation = (Views.of(split, view, view, FABRIC.device) for split in (dataset.train, dataset.validation))
    info = dataset.info(None)
    seed_global(0, "teacher")
    teacher = build(info)
    trainer = Trainer(
        fabric=FABRIC, method=Supervised(), pair=Pair(info, ModelInfo("teacher", teacher), None, RECIPE.epochs, 17),
        teacher=NoTeacher(), train=train, validation=validation, recipe=RECIPE, seed=0,
    )  # fmt: skip
    trainer.run_epochs()
    trainer.close()
    return Bench(info, train, validation, teacher.eval())


def check_same(one: nn.Module, other: nn.Module, what: str) -> None:
    """Both have the same bits, statistics included."""
    for name, value in one.state_dict().items():
        assert value.equal(other.state_dict()[name]), f"{what}: {name} differs"
