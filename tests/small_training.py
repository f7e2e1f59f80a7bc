"""Small trainings on real data as the engine runs them, and what every method promises in one: for tests of methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Catalog, Entry
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.models import Maker, Side, inspect_model
from kdbench.engine.pairs import check_served
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher, TeacherSource
from kdbench.engine.teachers import Supervised
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.method import ModelInfo, Pair
from kdbench_models.cnn import cnn_m, cnn_s
from kdbench_models.mlp import mlp_s

Build = Callable[[DatasetInfo], nn.Module]
RECIPE = kdbench.Recipe(epochs=2, batch_size=64, select="last")
REGISTERED = {"cnn-s": cnn_s, "cnn-m": cnn_m, "mlp-s": mlp_s}  # what a method may name as a further model


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training, and the parameters of the method's modules as they were built."""

    trainer: Trainer
    built: dict[str, Tensor]

    @property
    def history(self) -> list[dict[str, float]]:
        return self.trainer.history

    @property
    def student(self) -> nn.Module:
        return self.trainer.student

    @property
    def teacher(self) -> nn.Module:
        """This training's copy of the bench's."""
        assert self.trainer.pair.teacher is not None
        return self.trainer.pair.teacher.module

    @property
    def own_terms(self) -> set[str]:
        """The logged loss terms beside cross-entropy, of any epoch."""
        names = {name for row in self.history for name in row if not name.startswith("val_")}
        return names - {"loss", "ce", "epoch", "lr"}


@dataclass(frozen=True, eq=False)
class Bench:
    """Data as both models see it, a trained and frozen teacher, and how students are built and trained.

    Every training has a copy of the teacher, so that none moves another's.
    """

    info: DatasetInfo
    teacher_info: DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module
    builds: tuple[Build, Build]  # of the student and of the teacher
    recipe: kdbench.Recipe

    def pair(self, method: kdbench.Method, student: Build | None = None, *, seed: int = 1, **recipe: Any) -> Pair:
        """A fresh student and a copy of the teacher; the recipe's fields may be changed by name."""
        chosen = msgspec.structs.replace(self.recipe, **recipe)
        build, build_teacher = student or self.builds[0], self.builds[1]
        sides = {
            "student": Side(Entry("student", "student", build, "tests"), self.info, self.train.student[:2]),
            "teacher": Side(Entry("teacher", "teacher", build_teacher, "tests"), self.teacher_info,
                            self.train.teacher[:2]),
        }  # fmt: skip
        seed_global(seed, "student")
        models = {"student": build(self.info), "teacher": copy_of(self.teacher, learns=method.trains_teacher)}
        needs = {"student": method.needs.student_features, "teacher": method.needs.teacher_features}
        inspected = [
            inspect_model(models[side], each.entry, each.info, each.example, needs[side])
            for side, each in sides.items()
        ]
        catalog = Catalog()
        for name, factory in REGISTERED.items():
            catalog.add("student", name, factory, "tests", {"family": name[:3]})
        return Pair(
            self.info, *inspected, chosen.epochs, steps_of(chosen, self.train), chosen.batch_size,
            shared_view=self.train.student is self.train.teacher, teacher_dataset=self.teacher_info,
            recipe=chosen, teacher_recipe=chosen, maker=Maker(catalog, sides, seed),  # type: ignore[arg-type]
        )  # fmt: skip

    def trainer(
        self, method: kdbench.Method, student: Build | None = None, *, seed: int = 1, place: Path | None = None,
        **recipe: Any,
    ) -> Trainer:  # fmt: skip
        """A trainer that is ready to fit; `place` is the teacher's in a bank. Raises: MethodRefused."""
        pair = self.pair(method, student, seed=seed, **recipe)
        check_served(method, type(method).__name__, pair)
        source: TeacherSource = NoTeacher()
        if method.needs.teacher or method.trains_teacher:
            assert pair.teacher is not None
            source = LiveTeacher(pair.teacher.module, method.needs, "teacher", trains=method.trains_teacher)
        seed_global(seed, "training")
        return trainer_on(
            self.train, self.validation, method, pair, source, msgspec.structs.replace(self.recipe, **recipe), seed,
            place,
        )  # fmt: skip

    def distil(
        self, method: kdbench.Method, student: Build | None = None, *, seed: int = 1, place: Path | None = None,
        **recipe: Any,
    ) -> Trained:  # fmt: skip
        """Train a student with the method."""
        trainer = self.trainer(method, student, seed=seed, place=place, **recipe)
        built = {} if method.module is None else {n: p.detach().clone() for n, p in method.module.named_parameters()}
        method.fit(trainer)
        trainer.close()
        return Trained(trainer, built)


def make_bench(
    data: kdbench.Data,
    *,
    teacher: Build,
    student: Build,
    views: tuple[str, str] | None = None,
    recipe: kdbench.Recipe = RECIPE,
    teacher_recipe: kdbench.Recipe | None = None,
) -> Bench:
    """The data prepared, and a teacher trained on its view; `views` are the student's and the teacher's."""
    dataset = prepare("tested", data, fold=None, folds=None)
    one, other = views or (dataset.view(None), dataset.view(None))
    of_teacher = teacher_recipe or recipe
    fabric = Fabric(accelerator="cpu", devices=1)
    splits = (dataset.train, dataset.validation)
    train, validation = (Views.of(split, one, other, fabric.device, dataset.task) for split in splits)
    info = dataset.info(other)
    seed_global(0, "teacher")
    module = teacher(info)
    pair = Pair(info, ModelInfo("teacher", module), None, of_teacher.epochs, steps_of(of_teacher, train))
    trainer = trainer_on(
        train.seen_by("teacher"), validation.seen_by("teacher"), Supervised(), pair, NoTeacher(), of_teacher, 0
    )
    trainer.run_epochs()
    trainer.close()
    module.requires_grad_(False).eval()
    return Bench(dataset.info(one), info, train, validation, module, (student, teacher), recipe)


def copy_of(teacher: nn.Module, *, learns: bool) -> nn.Module:
    """The teacher's copy for one training."""
    return copy.deepcopy(teacher).requires_grad_(learns)


def steps_of(recipe: kdbench.Recipe, train: Views) -> int:
    """An epoch's."""
    return -(-len(train.labels) // recipe.batch_size)


def trainer_on(
    train: Views, validation: Views, method: kdbench.Method, pair: Pair, teacher: TeacherSource, recipe: kdbench.Recipe,
    seed: int, place: Path | None = None,
) -> Trainer:  # fmt: skip
    return Trainer(
        fabric=Fabric(accelerator="cpu", devices=1, precision=recipe.precision), method=method, pair=pair,
        teacher=teacher, train=train, validation=validation, recipe=recipe, seed=seed, teacher_directory=place,
    )  # fmt: skip


def different(one: nn.Module, other: nn.Module) -> set[str]:
    """The parameters and buffers that are not the same, bit for bit."""
    states = one.state_dict(), other.state_dict()
    alone = states[0].keys() ^ states[1].keys()
    return alone | {name for name in states[0].keys() - alone if not states[0][name].equal(states[1][name])}


def check_falls(history: list[dict[str, float]], names: Collection[str]) -> None:
    """Each logged value is less in the last epoch that has it than in the first."""
    for name in names:
        values = [row[name] for row in history if name in row]
        assert values[-1] < values[0], f"{name} did not fall: {values}"


def check_moved(done: Trained) -> None:
    """Every parameter of the method's own modules has changed."""
    module = done.trainer.method.module
    now = {} if module is None else dict(module.named_parameters())
    assert now.keys() == done.built.keys()
    for name, value in done.built.items():
        assert not value.equal(now[name]), f"{name} of the method did not move"


def check_same(one: Trained, other: Trained) -> None:
    """Both trainings went the same way, bit for bit."""
    assert one.history == other.history
    assert different(one.student, other.student) == set()
    assert different(one.teacher, other.teacher) == set()


def check_training(
    bench: Bench, make: Callable[[], kdbench.Method], student: Build | None = None, *, but: Collection[str] = (),
    answers: bool = True, **recipe: Any,
) -> Trained:  # fmt: skip
    """What every method promises in training: it learns, moves all of what it trains and nothing else, and repeats.

    Its own terms, or cross-entropy where it has none, fall from the first epoch that has them to the last.

    Args:
        but: own terms that need not fall.
        answers: the method trains the student's answers, so that the loss on validation falls.
    """
    done = bench.distil(make(), student, **recipe)
    check_falls(done.history, (done.own_terms or {"ce"}) - set(but))
    if answers:
        check_falls(done.history, {"val_loss"})
    learns = done.trainer.method.trains_teacher
    assert different(done.teacher, bench.teacher) == (set(bench.teacher.state_dict()) if learns else set())
    check_moved(done)
    check_same(bench.distil(make(), student, **recipe), done)
    return done
