"""Digits, a teacher that has learnt them a little, and trainings with a method on them: what tests of methods share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Catalog, Entry
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.models import Maker, Side, inspect_model
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher
from kdbench.engine.train import Trainer, Views
from kdbench.method import ModelInfo, Pair
from kdbench_classic.baselines import Scratch
from kdbench_data.bundled import digits
from kdbench_models.cnn import cnn_m, cnn_s
from kdbench_models.mlp import mlp_s

FABRIC = Fabric(accelerator="cpu", devices=1)
EPOCHS, BATCH = 2, 64
ZOO = {"cnn-s": cnn_s, "cnn-m": cnn_m, "mlp-s": mlp_s}
Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class DigitsBench:
    """The data in views, and a frozen cnn-m with batch norm that was trained on them for two epochs."""

    info: DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module

    @property
    def recipe(self) -> kdbench.Recipe:
        """Two short epochs, scored at the last."""
        return kdbench.Recipe(epochs=EPOCHS, batch_size=BATCH, select="last")

    def pair(self, method: kdbench.Method, recipe: kdbench.Recipe, seed: int, student: str = "cnn-s") -> Pair:
        """The teacher and a fresh student."""
        catalog = Catalog()
        for name, factory in ZOO.items():
            catalog.add("student", name, factory, "tests", {"family": name[:3]})
        example = self.train.student[:2]
        entries = {"student": catalog.find("student", student), "teacher": Entry("teacher", "cnn-m", cnn_m, "tests")}
        seed_global(seed, "student")
        made: list[ModelInfo] = [
            inspect_model(model, entries[side], self.info, example, features)  # type: ignore[index]
            for side, model, features in (
                ("student", ZOO[student](self.info), method.needs.student_features),
                ("teacher", self.teacher, method.needs.teacher_features),
            )
        ]
        return Pair(
            self.info, *made, recipe.epochs, -(-len(self.train.labels) // recipe.batch_size), teacher_recipe=recipe,
            maker=Maker(
                catalog,
                {side: Side(entry, self.info, example) for side, entry in entries.items()},  # type: ignore[misc]
                seed,
            ),
        )  # fmt: skip

    def trainer(self, method: kdbench.Method, *, seed: int = 1, student: str = "cnn-s", **recipe: Any) -> Trainer:
        """A trainer that is ready to fit; the recipe's fields may be changed by name."""
        chosen = kdbench.Recipe(**{"epochs": EPOCHS, "batch_size": BATCH, "select": "last"} | recipe)
        pair = self.pair(method, chosen, seed, student)
        method.check(pair)
        source = NoTeacher()
        if method.needs.teacher or method.trains_teacher:
            source = LiveTeacher(self.teacher, method.needs, "cnn-m", trains=method.trains_teacher)  # type: ignore[assignment]
        seed_global(seed, "training")
        return Trainer(
            fabric=FABRIC, method=method, pair=pair, teacher=source, train=self.train, validation=self.validation,
            recipe=chosen, seed=seed,
        )  # fmt: skip

    def distil(self, method: kdbench.Method, **options: Any) -> tuple[Trainer, Weights]:
        """A finished training, and the weights of the method's own modules before it."""
        trainer = self.trainer(method, **options)
        own = {} if method.module is None else {n: p.detach().clone() for n, p in method.module.named_parameters()}
        method.fit(trainer)
        trainer.close()
        return trainer, own

    def with_train(self, inputs: Tensor, labels: Tensor) -> DigitsBench:
        """The same but for the training items."""
        return replace(self, train=Views(inputs, inputs, labels))


def make_digits_bench() -> DigitsBench:
    """Read digits and train the teacher."""
    dataset = prepare("digits", digits(), fold=None, folds=None)
    view = dataset.view(None)
    train, validation = (Views.of(split, view, view, FABRIC.device) for split in (dataset.train, dataset.validation))
    info = dataset.info(None)
    seed_global(0, "teacher")
    bench = DigitsBench(info, train, validation, cnn_m(info))
    pair = Pair(info, ModelInfo("cnn-m", bench.teacher), None, EPOCHS, len(train.labels) // BATCH)
    trainer = Trainer(
        fabric=FABRIC, method=Scratch(), pair=pair, teacher=NoTeacher(), train=train, validation=validation,
        recipe=bench.recipe, seed=0,
    )  # fmt: skip
    trainer.run_epochs()
    trainer.close()
    bench.teacher.requires_grad_(False).eval()
    return bench


@pytest.fixture(scope="session")
def digits_bench() -> DigitsBench:
    """One for all tests of a session: a test that moves its teacher takes a copy first."""
    return make_digits_bench()


def own_terms(row: dict[str, float], *others: str) -> list[str]:
    """The method's own loss terms in a row of the history."""
    known = {"loss", "ce", "epoch", "lr", *others}
    return [name for name in row if name not in known and not name.startswith("val_")]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether every parameter and buffer is the same, bit for bit."""
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(v.equal(states[1][name]) for name, v in states[0].items())


def assert_moved(method: kdbench.Method, own: Weights) -> None:
    """Every parameter of the method's own modules has changed."""
    assert (method.module is not None) == bool(own)
    for name, value in own.items():
        assert method.module is not None
        assert not value.equal(method.module.get_parameter(name)), f"{name} of the method did not move"


def gradcheck(loss: Any, logits: Tensor) -> bool:
    """Finite differences against autograd in float64."""
    return bool(torch.autograd.gradcheck(loss, (logits.requires_grad_(),)))
