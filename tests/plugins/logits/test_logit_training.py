"""The logit methods in training: on digits with the smallest models, through the plugin as kdbench loads it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from logit_cases import method_class
from torch import Tensor, nn

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.engine.seeding import seed_global
from kdbench.engine.signals import LiveTeacher, NoTeacher, TeacherSource
from kdbench.engine.teachers import Supervised
from kdbench.engine.train import Trainer, Views
from kdbench.method import ModelInfo, Pair
from kdbench.plugins import load_plugins
from kdbench.testing import check_method
from kdbench_data.bundled import digits
from kdbench_logits import METHODS
from kdbench_models.cnn import cnn_s
from kdbench_models.mlp import mlp_s

EPOCHS = 2
PARAMETERS: dict[str, dict[str, Any]] = {
    "dkd": {"warmup": 0},  # while it warms up, the term rises with its weight
    # A new student's even answer is close to what these match, and the labels pull away from it: the term prevails only
    # with a larger weight.
    "tf_kd": {"alpha": 0.9},
    "nkd": {"gamma": 10.0},
    "ttm": {"weight": 10.0},
}
Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Bench:
    """Digits, and a teacher with batch norm that has learnt them a little."""

    info: kdbench.DatasetInfo
    train: Views
    validation: Views
    teacher: nn.Module

    def trainer(self, method: kdbench.Method, model: nn.Module, source: TeacherSource) -> Trainer:
        recipe = kdbench.Recipe(epochs=EPOCHS, batch_size=32, optimizer="adam", lr=5e-3, select="last")
        steps = -(-len(self.train.labels) // recipe.batch_size)
        pair = Pair(self.info, ModelInfo("student", model), ModelInfo("teacher", self.teacher), EPOCHS, steps)
        method.check(pair)
        return Trainer(
            fabric=Fabric(accelerator="cpu", devices=1), method=method, pair=pair, teacher=source, train=self.train,
            validation=self.validation, recipe=recipe, seed=0,
        )  # fmt: skip

    def distil(self, name: str) -> tuple[Trainer, Weights]:
        """A finished training with the method, and the weights of its own module before it."""
        method = method_class(name)(**PARAMETERS.get(name, {}))
        seed_global(0, "student")
        student = mlp_s(self.info)
        source = (
            LiveTeacher(self.teacher, method.needs, "teacher", trains=False) if method.needs.teacher else NoTeacher()
        )
        trainer = self.trainer(method, student, source)
        own = copy.deepcopy(method.module.state_dict()) if method.module is not None else {}
        trainer.run_epochs()
        trainer.close()
        return trainer, own


@pytest.fixture(scope="module")
def bench() -> Bench:
    data = prepare("digits", digits(), fold=None, folds=None)
    view, cpu = data.view(None), torch.device("cpu")
    train, validation = (Views.of(split, view, view, cpu) for split in (data.train, data.validation))
    info = data.info(None)
    seed_global(0, "teacher")
    made = Bench(info, train, validation, cnn_s(info))
    trainer = made.trainer(Supervised(), made.teacher, NoTeacher())
    trainer.run_epochs()
    trainer.close()
    made.teacher.requires_grad_(False)
    return made


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_and_its_own_terms_fall_while_the_teacher_stays(bench, name):
    before = copy.deepcopy(bench.teacher.state_dict())
    trainer, own = bench.distil(name)
    first, last = trainer.history[0], trainer.history[-1]
    terms = [key for key in first if key not in {"epoch", "loss", "ce", "lr"} and not key.startswith("val_")]
    assert terms
    for term in terms:
        assert last[term] < first[term], term
    assert last["val_accuracy"] > 0.5
    assert any(key.endswith("running_mean") for key in before)
    for key, value in bench.teacher.state_dict().items():
        assert value.equal(before[key]), key
    for key, value in own.items():
        assert not trainer.method.module.state_dict()[key].equal(value), key


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bits(bench, name):
    (one, _), (two, _) = bench.distil(name), bench.distil(name)
    assert one.history == two.history
    for key, value in one.student.state_dict().items():
        assert value.equal(two.student.state_dict()[key]), key


@pytest.mark.parametrize("name", METHODS)
def test_each_keeps_the_promises_of_a_method(name):
    check_method(method_class(name))


def test_the_plugin_registers_every_method_and_its_entry_point_is_declared(entry_point):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    plugins = load_plugins(points=[entry_point("logits", project["entry-points"]["kdbench"]["logits"])])
    assert plugins.problems == []
    entries = {entry.name: entry for entry in plugins.catalog.entries("method")}
    assert entries.keys() == METHODS.keys()
    for name, entry in entries.items():
        assert entry.load() is method_class(name)
        assert entry.metadata["family"] == "logit"
        assert entry.metadata["source"].split(" ")[0] in entry.load().__doc__


def test_registering_does_not_import_torch():
    code = (
        "import sys, kdbench_logits as plugin\n"
        "plugin.kdbench_register_methods(lambda *arguments, **metadata: None)\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
