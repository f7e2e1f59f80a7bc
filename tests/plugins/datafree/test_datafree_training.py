"""The data-free methods in training, on the shape of digits and a teacher that has seen them."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from digits_bench import assert_moved, digits_bench, same_weights

import kdbench
from kdbench.plugins import load_plugins
from kdbench.testing import check_method
from kdbench_datafree import METHODS
from kdbench_datafree.adversary import ZeroShotTransfer
from kdbench_datafree.prior import DataFreeLearning

__all__ = ["digits_bench"]
# The default attention of 250 leaves the divergence to later than two epochs.
CASES = [(ZeroShotTransfer, {"student_steps": 3, "attention": 10.0}), (DataFreeLearning, {})]
ADAM = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0}


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_a_method_learns_from_the_teacher_without_data(digits_bench, cls, params):
    before = copy.deepcopy(digits_bench.teacher)
    method = cls(**params)
    trainer, own = digits_bench.distil(method, **ADAM)
    first, last = trainer.history
    for name in {"kl", "attention"} & first.keys():
        assert last[name] < first[name], f"{name} did not fall"
    assert last["val_loss"] < first["val_loss"]
    assert last["val_accuracy"] > 0.25, "guessing is right one time in ten"
    assert_moved(method, own)
    assert same_weights(digits_bench.teacher, before)


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_the_seed_decides_the_student_and_training_inputs_and_labels_do_not(digits_bench, cls, params):
    """Garbage in their place gives the same student bit for bit."""
    data = digits_bench.train
    garbage = digits_bench.with_train(torch.full_like(data.student, float("nan")), (data.labels * 0).fill_(-7))
    one, _ = digits_bench.distil(cls(**params), epochs=1)
    other, _ = garbage.distil(cls(**params), epochs=1)
    assert same_weights(one.student, other.student)
    assert same_weights(one.method.module, other.method.module)
    assert all(value.isfinite().all() for value in one.student.state_dict().values())


def test_zskts_generator_finds_inputs_on_which_the_models_differ(digits_bench):
    trainer = digits_bench.trainer(ZeroShotTransfer(generator_lr=1e-2))
    batch = next(iter(trainer.batches(0)))
    student = copy.deepcopy(trainer.model)
    found = [trainer.method.generator_step(trainer, batch)[1]["generator"] for _ in range(30)]
    assert sum(found[-5:]) < 2 * sum(found[:5]) < 0, "minus the divergence"
    for name, value in student.named_parameters():
        assert value.equal(trainer.model.get_parameter(name)), "the generator's step is the generator's alone"
        assert trainer.model.get_parameter(name).grad is None
    trainer.close()


def test_dafls_generator_learns_items_that_the_teacher_is_sure_of_in_all_classes(digits_bench):
    trainer = digits_bench.trainer(DataFreeLearning(generator_lr=1e-2))
    batch = next(iter(trainer.batches(0)))

    def answers():
        with torch.no_grad():
            return digits_bench.teacher(trainer.method.generate(trainer, batch).inputs).softmax(1)

    before = answers()
    for _ in range(40):
        trainer.method.generator_step(trainer, batch)
    after = answers()
    assert len(after.argmax(1).unique()) >= 8
    assert float(after.max(1).values.mean()) > 1.3 * float(before.max(1).values.mean())
    trainer.close()


def test_each_step_draws_new_noise(digits_bench):
    trainer = digits_bench.trainer(DataFreeLearning())
    batch = next(iter(trainer.batches(0)))
    one, two = (trainer.method.generate(trainer, batch).inputs for _ in range(2))
    assert one.shape == two.shape == batch.inputs.shape
    assert not one.equal(two)
    trainer.close()


def test_the_students_steps_are_counted(digits_bench):
    trainer = digits_bench.trainer(ZeroShotTransfer(student_steps=4, generator_steps=2))
    trainer.method.step(trainer, next(iter(trainer.batches(0))))
    assert trainer.steps == 4
    trainer.close()


@pytest.mark.parametrize(("cls", "params"), [(ZeroShotTransfer, {"student_steps": 0}),
                                             (DataFreeLearning, {"generator_lr": 0})])  # fmt: skip
def test_parameters_out_of_range_are_refused(cls, params):
    with pytest.raises(kdbench.InvalidParameter, match=next(iter(params))):
        cls(**params)


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_each_keeps_the_promises_of_a_method(cls, params):
    check_method(cls, **params)


def test_the_plugin_registers_every_method_and_its_entry_point_is_declared(entry_point):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    plugins = load_plugins(points=[entry_point("datafree", project["entry-points"]["kdbench"]["datafree"])])
    assert plugins.problems == []
    entries = {entry.name: entry for entry in plugins.catalog.entries("method")}
    assert entries.keys() == METHODS.keys()
    assert {entry.load() for entry in entries.values()} == {cls for cls, _ in CASES}
    for name, entry in entries.items():
        assert entry.load().name == name
        assert entry.metadata["family"] == "data-free"
        assert entry.metadata["source"].split(" ")[0] in entry.load().__doc__


def test_registering_does_not_import_torch():
    code = (
        "import sys, kdbench_datafree as plugin\n"
        "plugin.kdbench_register_methods(lambda *arguments, **metadata: None)\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
