"""The self-distillation methods in training, on digits."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from digits_bench import assert_moved, digits_bench, own_terms, same_weights

import kdbench
from kdbench.engine.seeding import seed_global
from kdbench.plugins import load_plugins
from kdbench.testing import check_method
from kdbench_selfdistil import METHODS
from kdbench_selfdistil.classwise import ClasswiseSelfKD
from kdbench_selfdistil.exits import BeYourOwnTeacher

__all__ = ["digits_bench"]
CASES = [(BeYourOwnTeacher, {}), (ClasswiseSelfKD, {})]


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_a_method_trains_on_digits_without_the_teacher(digits_bench, cls, params):
    method = cls(**params)
    trainer, own = digits_bench.distil(method)
    assert trainer.teacher.module is None
    first, last = trainer.history
    terms = set(own_terms(first))
    assert terms
    # The others rise while the answers leave the even start and the features grow: the next tests say what they do.
    for name in terms - {"class_kd", "exit_kd", "hint"}:
        assert last[name] < first[name], f"{name} did not fall"
    assert last["val_accuracy"] > max(0.5, first["val_accuracy"])
    assert_moved(method, own)
    again, _ = digits_bench.distil(cls(**params))
    assert again.history == trainer.history
    assert same_weights(trainer.student, again.student)


def test_byots_exits_learn_from_the_deepest_answers_alone(digits_bench):
    method = BeYourOwnTeacher(alpha=1.0)
    trainer, _ = digits_bench.distil(method, epochs=3, optimizer="adam", lr=0.01)
    data, student = digits_bench.validation, trainer.student.eval()
    features = student.stage1(student.stem(data.student))
    for branch, stage in zip(method.module.eval(), (None, student.stage2), strict=True):
        features = features if stage is None else stage(features)
        accuracy = float((branch(features)[1].argmax(1) == data.labels).float().mean())
        assert accuracy > 0.4, "no label taught it, and guessing is right one time in ten"


def test_byots_hint_brings_the_exits_features_nearer_to_the_deepest(digits_bench):
    apart = []
    for hint in (1e-6, 1.0):
        trainer, _ = digits_bench.distil(BeYourOwnTeacher(hint=hint))
        apart.append(trainer.history[-1]["hint"] / hint)
    assert apart[1] < 0.8 * apart[0]


def test_cs_kd_brings_the_answers_for_one_class_together(digits_bench):
    data, spread = digits_bench.validation, []
    for weight in (0.0, 3.0):
        trainer, _ = digits_bench.distil(ClasswiseSelfKD(weight=weight), epochs=3)
        with torch.no_grad():
            probabilities = trainer.student.eval()(data.student).softmax(1)
        within = [probabilities[data.labels == label].var(0).sum() for label in range(10)]
        spread.append(float(torch.stack(within).mean()))
    assert spread[1] < 0.9 * spread[0]


def test_cs_kds_partners_are_augmented_like_the_batch_and_of_its_classes(digits_bench):
    seen = []

    def marked(inputs, stream):
        seen.append(inputs)
        return inputs + 0.01 * torch.randn(inputs.shape, generator=stream)

    trainer = digits_bench.trainer(ClasswiseSelfKD())
    trainer.augment = marked
    batch = next(iter(trainer.batches(0)))
    trainer.method.step(trainer, batch)
    own, partner = seen
    data = trainer.train_data
    position = [int((data.student == item).flatten(1).all(1).nonzero()[0]) for item in partner]
    assert data.labels[position].equal(batch.labels)
    assert not own.equal(partner)
    trainer.close()


def test_byots_exits_are_not_part_of_the_student_that_is_scored(digits_bench):
    trainer, _ = digits_bench.distil(BeYourOwnTeacher())
    seed_global(1, "student")
    plain = type(trainer.student).__name__, [name for name, _ in trainer.student.named_parameters()]
    other = digits_bench.trainer(ClasswiseSelfKD())
    assert plain == (type(other.model).__name__, [name for name, _ in other.model.named_parameters()])
    assert len(trainer.method.module) == 2
    other.close()


@pytest.mark.parametrize(("cls", "params"), [(BeYourOwnTeacher, {"layers": []}), (BeYourOwnTeacher, {"alpha": 2}),
                                             (ClasswiseSelfKD, {"temperature": 0})])  # fmt: skip
def test_parameters_out_of_range_are_refused(cls, params):
    with pytest.raises(kdbench.InvalidParameter, match=next(iter(params))):
        cls(**params)


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_each_keeps_the_promises_of_a_method(cls, params):
    check_method(cls, **params)


def test_the_plugin_registers_every_method_and_its_entry_point_is_declared(entry_point):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    plugins = load_plugins(points=[entry_point("selfdistil", project["entry-points"]["kdbench"]["selfdistil"])])
    assert plugins.problems == []
    entries = {entry.name: entry for entry in plugins.catalog.entries("method")}
    assert entries.keys() == METHODS.keys()
    assert {entry.load() for entry in entries.values()} == {cls for cls, _ in CASES}
    for entry in entries.values():
        assert entry.metadata["family"] == "self"
        assert entry.metadata["source"].split(" ")[0] in entry.load().__doc__


def test_registering_does_not_import_torch():
    code = (
        "import sys, kdbench_selfdistil as plugin\n"
        "plugin.kdbench_register_methods(lambda *arguments, **metadata: None)\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
