"""The gradient methods in training, on digits."""

from __future__ import annotations

import pytest
from small_training import check_falls, check_training

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


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_a_method_trains_its_own_term_falls_and_the_teacher_stays(digits_bench, cls, params):
    done = check_training(digits_bench, lambda: cls(**params))
    first, last = done.history
    assert done.own_terms & first.keys() > {"kd"}
    assert last["val_accuracy"] > max(0.4, first["val_accuracy"])
    assert done.trainer.teacher.forward_samples == done.trainer.samples, "one teacher pass a step"
    assert not digits_bench.train.student.requires_grad


def test_a_network_without_maps_is_served_too(digits_bench):
    check_falls(digits_bench.distil(GradientAlignment(), mlp_s).history, {"alignment"})


@pytest.mark.parametrize(("cls", "params"), METHODS)
def test_each_keeps_the_promises_of_a_method(cls, params):
    if "student_layer" in params:
        params = {"student_layer": "pool", "teacher_layer": "stage2"}
    elif cls in {AttentionFromGradients, GradientAlignment}:
        params = {"student_layer": "stage1", "teacher_layer": "stage2"}
    check_method(cls, **params)
