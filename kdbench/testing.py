"""Conformance checks for plugin authors, and a pytest plugin with a fixture that runs the command line.

    def test_my_method():
        kdbench.testing.check_method(MyMethod, temperature=2.0)

Every check raises AssertionError and says which promise is broken.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.data import TOKEN_TASKS, Data, DatasetInfo, Task
from kdbench.method import Method

if TYPE_CHECKING:
    from kdbench.engine.leaks import Similarity
    from kdbench.engine.train import Trainer

Factory = Callable[[DatasetInfo], Any]
_CLASSES, _ITEMS, _SHAPE = 3, 48, (1, 8, 8)


@dataclass(frozen=True)
class CommandResult:
    """What a command printed, and its exit code."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.stdout)


@pytest.fixture
def kdbench_command() -> Callable[..., CommandResult]:
    """Run `kdbench ARGUMENTS...` in a process of its own, with the plugins that are installed."""

    def run(*arguments: str, timeout: float = 600) -> CommandResult:
        command = [sys.executable, "-m", "kdbench", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        return CommandResult(done.returncode, done.stdout, done.stderr)

    return run


def check_method(
    cls: type[Method], *, epochs: int = 2, student: Factory | None = None, teacher: Factory | None = None, **params: Any
) -> None:
    """Train with the method on a small made-up task and check what kdbench promises of methods.

    The hyper-parameters and their search ranges are declared and validated; the loss is finite and reaches the student;
    the student moves; the teacher's parameters and statistics do not, unless the method trains it; what is scored
    answers with finite logits; the same seed gives the same bits.

    Args:
        epochs: of the training; of three steps each.
        student, teacher: factories for a method that wants something of its models which the made-up ones lack: items
            are (1, 8, 8), and one of three classes; or have some of three labels, where the method serves only those.
        params: the method's hyper-parameters.
    """
    assert isinstance(cls, type), f"{cls!r} is not a class"
    assert issubclass(cls, Method), f"{cls.__name__} is not a subclass of kdbench.Method"
    _check_parameters(cls)
    factories = student or partial(_network, 8), teacher or partial(_network, 16)
    first, second = (_train(cls, params, epochs, *factories) for _ in range(2))
    _check_training(cls, first)
    for name, value in first.student.state_dict().items():
        same = value.equal(second.student.state_dict()[name])
        assert same, f"{cls.__name__}: two trainings with the same seed differ in {name!r}"
    assert first.logits.isfinite().all(), f"{cls.__name__}: the model that is scored answers with what is not finite"
    assert first.logits.equal(second.logits), f"{cls.__name__}: two trainings with the same seed answer differently"


def check_dataset(factory: Callable[[], Data], *, similarity: Similarity | None = None, threshold: float = 1.0) -> None:
    """Read the data twice and prepare it: it is a `kdbench.Data` that can be trained on, the same every time.

    No group and no exact copy of an item is in two splits; nor, where `similarity` is given, a near copy.

    Args:
        factory: as it is registered.
        similarity: takes two arrays of positions in the raw data, (n,) and (m,), and returns how alike those items are,
            (n, m). Of vectors, say: `lambda a, b: cosine_similarity(vectors[a], vectors[b])`.
        threshold: items of different splits that are at least so alike are near copies.
    """
    from kdbench.engine.datasets import prepare
    from kdbench.engine.leaks import leaks

    data = factory()
    assert isinstance(data, Data), f"the factory returned {type(data).__name__}, not kdbench.Data"
    first, second = (prepare("checked", each, fold=None, folds=None) for each in (data, factory()))
    assert first.fingerprint == second.fingerprint, "reading the data twice gives different content"
    found = list(leaks(data, first, similarity, threshold))
    assert not found, "; ".join(found)


def check_model(factory: Factory, info: DatasetInfo) -> None:
    """Build the model twice from the same seed: it takes the dataset's items, returns logits and is reproducible."""
    import torch

    from kdbench.catalog import Entry
    from kdbench.engine.models import build_model, inspect_model

    entry = Entry("student", "checked", factory, "checked")
    outputs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = build_model(entry, info)
        tokens = info.task in (*TOKEN_TASKS, "span-qa")
        size = (2, *info.input_shape)
        example = torch.randint(info.num_classes, size).float() if tokens else torch.randn(size)
        inspect_model(model, entry, info, example, ())
        outputs.append(model.eval()(example))
    assert outputs[0].equal(outputs[1]), "two builds from the same seed give different logits"


def _check_parameters(cls: type[Method]) -> None:
    from kdbench.errors import InvalidParameter

    for name in cls.defaults():
        assert name in cls.parameter_schema(), f"{cls.__name__}: parameter {name!r} has no type"
    try:
        cls.search_space()
    except InvalidParameter as error:
        raise AssertionError(f"{cls.__name__} declares a kdbench.Search that cannot be used: {error}") from error
    try:
        cls(no_such_parameter=1)
    except InvalidParameter:
        return
    raise AssertionError(f"{cls.__name__} accepts a parameter that it does not declare")


def _check_training(cls: type[Method], trainer: _Trained) -> None:
    name = cls.__name__
    for row in trainer.history:
        assert not any(math.isnan(value) for value in row.values()), f"{name}: a logged value is NaN: {row}"
    before, after = trainer.student_before, trainer.student.state_dict()
    kept = before.keys() & after.keys()  # a method may replace parts of the student, or all of it
    moved = not kept or any(not after[key].equal(before[key]) for key in kept)
    assert moved, f"{name}: no parameter of the student changed"
    if not cls.trains_teacher:
        for key, value in trainer.teacher.state_dict().items():
            same = value.equal(trainer.teacher_before[key])
            assert same, f"{name}: {key!r} of the teacher changed, but trains_teacher is False"


@dataclass(frozen=True, eq=False)
class _Trained:
    student: Any
    teacher: Any
    student_before: dict[str, Any]
    teacher_before: dict[str, Any]
    logits: Any
    """What the finished model says of the items."""
    history: list[dict[str, float]]


def _train(
    cls: type[Method], params: dict[str, Any], epochs: int, build_student: Factory, build_teacher: Factory
) -> _Trained:
    import torch
    from lightning_fabric import Fabric

    from kdbench.catalog import Catalog, Entry
    from kdbench.engine.models import Maker, Side, inspect_model
    from kdbench.engine.seeding import generator, seed_global
    from kdbench.engine.signals import LiveTeacher
    from kdbench.engine.train import Trainer
    from kdbench.engine.views import Views
    from kdbench.method import Pair
    from kdbench.recipe import Recipe

    method = cls(**params)
    stream = generator(0, "check_method")
    labels = torch.arange(_ITEMS) % _CLASSES
    centres = torch.randn(_CLASSES, *_SHAPE, generator=stream)
    inputs = centres[labels] + 0.5 * torch.randn(_ITEMS, *_SHAPE, generator=stream)
    task: Task = "multilabel" if "multilabel" in cls.tasks and "multiclass" not in cls.tasks else "multiclass"
    if task == "multilabel":  # all but one of the labels
        labels = (labels[:, None] != torch.arange(_CLASSES)).float()
    views = Views(inputs, inputs.clone() if method.needs.input_grad else inputs, labels, task)
    seed_global(0, "check_method")
    info = DatasetInfo("checked", task, _CLASSES, _SHAPE, _ITEMS)
    teacher, student = build_teacher(info), build_student(info)
    before = [{key: value.clone() for key, value in model.state_dict().items()} for model in (student, teacher)]
    needs = method.needs
    recipe = Recipe(epochs=epochs, batch_size=16, select="last")
    entries = (
        Entry("student", "student", build_student, "kdbench"),
        Entry("teacher", "teacher", build_teacher, "kdbench"),
    )
    pair = Pair(
        info,
        inspect_model(student, entries[0], info, inputs[:2], needs.student_features),
        inspect_model(teacher, entries[1], info, inputs[:2], needs.teacher_features),
        epochs,
        _ITEMS // 16,
        batch_size=16,
        recipe=recipe,
        teacher_recipe=recipe,
        maker=Maker(
            Catalog(), {"student": Side(entries[0], info, inputs[:2]), "teacher": Side(entries[1], info, inputs[:2])}, 0
        ),
    )
    method.check(pair)
    trainer: Trainer = Trainer(
        fabric=Fabric(accelerator="cpu", devices=1), method=method, pair=pair,
        teacher=LiveTeacher(teacher, needs, "teacher", trains=cls.trains_teacher), train=views, validation=views,
        recipe=recipe, seed=0,
    )  # fmt: skip
    method.fit(trainer)
    trainer.close()
    with torch.no_grad():
        logits = method.finish(trainer).eval()(inputs)
    return _Trained(trainer.student, teacher, before[0], before[1], logits, trainer.history)


def _network(width: int, info: DatasetInfo) -> Any:
    from torch import nn

    network = nn.Sequential()
    network.add_module("stage1", nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()))
    network.add_module("stage2", nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()))
    network.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network.add_module("fc", nn.Linear(width, info.num_classes))
    return network
