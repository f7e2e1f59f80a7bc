"""The data-free methods in training, on the shape of digits and a teacher that has seen them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from small_training import check_falls, check_moved, different

import kdbench
from kdbench.engine.views import Views
from kdbench.testing import check_method
from kdbench_datafree.adversary import ZeroShotTransfer
from kdbench_datafree.prior import DataFreeLearning

# The default attention of 250 leaves the divergence to later than two epochs.
CASES = [(ZeroShotTransfer, {"student_steps": 3, "attention": 10.0}), (DataFreeLearning, {})]
ADAM = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0}


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_a_method_learns_from_the_teacher_without_data(digits_bench, cls, params):
    done = digits_bench.distil(cls(**params), **ADAM)
    first, last = done.history
    check_falls([first, last], {"kl", "attention", "val_loss"} & first.keys())
    assert last["val_accuracy"] > 0.25, "guessing is right one time in ten"
    check_moved(done)
    assert done.built
    assert different(done.teacher, digits_bench.teacher) == set()


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_the_seed_decides_the_student_and_training_inputs_and_labels_do_not(digits_bench, cls, params):
    """Garbage in their place gives the same student bit for bit."""
    data = digits_bench.train
    nothing = torch.full_like(data.student, float("nan"))
    garbage = replace(digits_bench, train=Views(nothing, nothing, torch.full_like(data.labels, -7)))
    one, other = (bench.distil(cls(**params), epochs=1) for bench in (digits_bench, garbage))
    assert different(one.student, other.student) == set()
    assert different(one.trainer.method.module, other.trainer.method.module) == set()
    assert all(value.isfinite().all() for value in one.student.state_dict().values())


def test_zskts_generator_finds_inputs_on_which_the_models_differ(digits_bench):
    trainer = digits_bench.trainer(ZeroShotTransfer(generator_lr=1e-2))
    batch = next(iter(trainer.batches(0)))
    student = copy.deepcopy(trainer.model)
    found = [trainer.method.generator_step(trainer, batch)["generator"] for _ in range(30)]
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


@pytest.mark.parametrize(("cls", "made"), [(ZeroShotTransfer, 1), (DataFreeLearning, 3)])
def test_zskts_student_learns_on_one_batch_in_all_its_steps_and_dafls_on_a_new_one_in_each(
    digits_bench, monkeypatch, cls, made
):
    """Chen et al. draw noise for each; in Micaelli & Storkey's algorithm 1 it is drawn before both loops."""
    trainer = digits_bench.trainer(cls(student_steps=3, generator_steps=2))
    method = trainer.method
    learnt: list[torch.Tensor] = []
    asked: list[torch.Tensor] = []
    shown, teach = trainer.student_outputs, trainer.teacher_outputs

    def seen_by_student(batch):
        if batch.inputs.grad_fn is None:
            learnt.append(batch.inputs.detach().clone())
        return shown(batch)

    def seen_by_teacher(batch):
        if batch.inputs.grad_fn is None:
            asked.append(batch.inputs.detach().clone())
        return teach(batch)

    monkeypatch.setattr(trainer, "student_outputs", seen_by_student)
    monkeypatch.setattr(trainer, "teacher_outputs", seen_by_teacher)
    noises = []
    draw = method.noise
    monkeypatch.setattr(method, "noise", lambda *of: noises.append(draw(*of)) or noises[-1])
    method.step(trainer, next(iter(trainer.batches(0))))
    assert len(learnt) == 3
    assert len(asked) == made, "the teacher answers once for what does not change"
    assert len({items.numpy().tobytes() for items in learnt}) == made
    with torch.no_grad():
        assert learnt[-1].equal(method.module(noises[-1])), "made by the generator after its steps"
    assert len(noises) == (1 if made == 1 else 5)
    trainer.close()


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_what_the_student_learns_on_gets_no_gradient(digits_bench, monkeypatch, cls, params):
    trainer = digits_bench.trainer(cls(**params))
    lessons, lesson = [], trainer.method.lesson
    monkeypatch.setattr(trainer.method, "lesson", lambda *of: lessons.append(lesson(*of)) or lessons[-1])
    trainer.method.step(trainer, next(iter(trainer.batches(0))))
    assert lessons
    assert all(made.inputs.grad is None for made, _ in lessons)
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


def test_every_method_of_the_plugin_is_trained_here(catalog):
    entries = list(catalog.of_plugin("datafree"))
    assert {entry.name: entry.load() for entry in entries} == {cls.name: cls for cls, _ in CASES}
    assert {entry.metadata["family"] for entry in entries} == {"data-free"}
