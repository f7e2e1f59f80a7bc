"""A trained teacher on digits, and trainings of the compression methods with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher
from kdbench.engine.train import Trainer, Views
from kdbench.method import ModelInfo, Pair
from kdbench_classic.baselines import Scratch
from kdbench_data.bundled import digits
from kdbench_models.cnn import cnn_s

FABRIC = Fabric(accelerator="cpu", devices=1)
RECIPE = kdbench.Recipe(epochs=2, batch_size=64, select="last")


@dataclass(frozen=True)
class Digits:
    info: DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module


def trained_digits() -> Digits:
    """Digits, and a teacher that was trained on them for two epochs."""
    dataset = prepare("digits", digits(), fold=None, folds=None)
    view = dataset.view(None)
    train, validation = (Views.of(split, view, view, FABRIC.device) for split in (dataset.train, dataset.validation))
    seed_global(0, "teacher")
    made = Digits(dataset.info(None), train, validation, cnn_s(dataset.info(None)))
    trainer_of(made, Scratch(), made.teacher).run_epochs()
    made.teacher.requires_grad_(False).eval()
    return made


def pair_of(data: Digits, student: nn.Module | None = None, epochs: int = RECIPE.epochs) -> Pair:
    seed_global(1, "student")
    student = cnn_s(data.info) if student is None else student
    steps = len(data.train.labels) // RECIPE.batch_size + 1
    return Pair(data.info, ModelInfo("cnn-s", student), ModelInfo("cnn-s", data.teacher), epochs, steps)


def trainer_of(
    data: Digits, method: kdbench.Method, student: nn.Module | None = None, seed: int = 1, **recipe: Any
) -> Trainer:
    settings = kdbench.Recipe(**{"epochs": RECIPE.epochs, "batch_size": 64, "select": "last"} | recipe)
    pair = pair_of(data, student, settings.epochs)
    method.check(pair)
    seed_global(seed, "training")
    source = LiveTeacher(data.teacher, method.needs, "cnn-s", trains=False) if method.needs.teacher else NoTeacher()
    fabric = (
        FABRIC
        if settings.precision == "32-true"
        else Fabric(accelerator="cpu", devices=1, precision=settings.precision)
    )
    return Trainer(
        fabric=fabric, method=method, pair=pair, teacher=source, train=data.train, validation=data.validation,
        recipe=settings, seed=seed,
    )  # fmt: skip


def fitted(data: Digits, method: kdbench.Method, **options: Any) -> Trainer:
    """The finished trainer."""
    made = trainer_of(data, method, **options)
    method.fit(made)
    made.close()
    return made


def made_up_pair(model: nn.Module, shape: tuple[int, ...], classes: int = 3) -> Pair:
    """A pair whose teacher, and student, is the given model."""
    info = DatasetInfo("made up", "multiclass", classes, shape, 100)
    return Pair(info, ModelInfo("student", model), ModelInfo("teacher", model), 1, 1)


def zeros(model: nn.Module) -> int:
    """How many weights of its convolutions and linear layers are exactly 0."""
    return sum(int((m.weight == 0).sum()) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))


def weights(model: nn.Module) -> int:
    """How many weights its convolutions and linear layers have."""
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))


def answers(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Logits in evaluation mode, without autograd."""
    with torch.no_grad():
        return model.eval()(inputs)
