"""The self-distillation methods in training, on digits."""

from __future__ import annotations

import pytest
import torch
from small_training import check_training

import kdbench
from kdbench.engine.seeding import seed_global
from kdbench.testing import check_method
from kdbench_selfdistil.classwise import ClasswiseSelfKD
from kdbench_selfdistil.exits import BeYourOwnTeacher

CASES = [(BeYourOwnTeacher, {}), (ClasswiseSelfKD, {})]


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_a_method_trains_on_digits_without_the_teacher(digits_bench, cls, params):
    # The others rise while the answers leave the even start and the features grow: the next tests say what they do.
    rise = {"class_kd", "exit_kd", "hint"}
    done = check_training(digits_bench, lambda: cls(**params), but=rise, answers=False)
    assert done.trainer.teacher.module is None
    assert done.own_terms
    assert done.history[-1]["val_accuracy"] > max(0.5, done.history[0]["val_accuracy"])


def test_byots_exits_learn_from_the_deepest_answers_alone(digits_bench):
    method = BeYourOwnTeacher(alpha=1.0)
    trainer = digits_bench.distil(method, epochs=3, optimizer="adam", lr=0.01).trainer
    data, student = digits_bench.validation, trainer.student.eval()
    features = student.stage1(student.stem(data.student))
    for branch, stage in zip(method.module.eval(), (None, student.stage2), strict=True):
        features = features if stage is None else stage(features)
        accuracy = float((branch(features)[1].argmax(1) == data.labels).float().mean())
        assert accuracy > 0.4, "no label taught it, and guessing is right one time in ten"


def test_byots_hint_brings_the_exits_features_nearer_to_the_deepest(digits_bench):
    apart = []
    for hint in (1e-6, 1.0):
        trainer = digits_bench.distil(BeYourOwnTeacher(hint=hint)).trainer
        apart.append(trainer.history[-1]["hint"] / hint)
    assert apart[1] < 0.8 * apart[0]


def test_cs_kd_brings_the_answers_for_one_class_together(digits_bench):
    data, spread = digits_bench.validation, []
    for weight in (0.0, 3.0):
        trainer = digits_bench.distil(ClasswiseSelfKD(weight=weight), epochs=3).trainer
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
    trainer = digits_bench.distil(BeYourOwnTeacher()).trainer
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


def test_every_method_of_the_plugin_is_trained_here(catalog):
    entries = list(catalog.of_plugin("selfdistil"))
    assert {entry.load() for entry in entries} == {cls for cls, _ in CASES}
    assert {entry.metadata["family"] for entry in entries} == {"self"}
