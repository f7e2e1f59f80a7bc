"""The gradient methods in training, on digits."""

from __future__ import annotations

import pytest
from small_training import Bench, check_same, make_bench

from kdbench.testing import check_method
from kdbench_gradients.alignment import GradientAlignment
from kdbench_gradients.attention import AttentionFromGradients
from kdbench_gradients.jacobian import JacobianMatching
from kdbench_gradients.sobolev import Sobolev
from kdbench_models.mlp import mlp_s

METHODS = [
    (JacobianMatching, {}),
    (JacobianMatching, {"of": "teacher"}),
    (Sobolev, {}),
    (Sobolev, {"projections": 2, "of": "probabilities"}),
    (AttentionFromGradients, {}),
    (GradientAlignment, {}),
    (GradientAlignment, {"student_layer": "penultimate", "teacher_layer": "penultimate"}),
]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return make_bench()


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_its_own_term_falls_and_the_teacher_stays(bench, cls, params):
    done = bench.distil(cls(**params))
    first, last = done.trainer.history
    assert done.own_terms > {"kd"}
    for name in done.own_terms:
        assert last[name] < first[name], f"{name} did not fall"
    assert last["val_loss"] < first["val_loss"]
    assert last["val_accuracy"] > max(0.4, first["val_accuracy"])
    check_same(done.teacher, bench.teacher, "teacher")
    for name, value in done.built.items():
        assert not value.equal(done.trainer.method.module.get_parameter(name)), f"{name} of the method did not move"
    assert done.trainer.teacher.forward_samples == done.trainer.samples, "one teacher pass a step"
    assert not bench.train.student.requires_grad
    again = bench.distil(cls(**params))
    assert again.trainer.history == done.trainer.history
    check_same(again.trainer.student, done.trainer.student, "student of the same seed")


def test_a_network_without_maps_is_served_too(bench):
    done = bench.distil(GradientAlignment(), mlp_s)
    first, last = done.trainer.history
    assert last["alignment"] < first["alignment"]


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_each_keeps_the_promises_of_a_method(cls, params):
    if "student_layer" in params:
        params = {"student_layer": "pool", "teacher_layer": "stage2"}
    elif cls in {AttentionFromGradients, GradientAlignment}:
        params = {"student_layer": "stage1", "teacher_layer": "stage2"}
    check_method(cls, **params)
