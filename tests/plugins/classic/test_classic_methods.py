"""Each method's loss against its paper's formula in plain float64 Python, and its promises in training."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from row_formulas import mean_cross_entropy, soft_targets, softmax
from torch import Tensor

import kdbench
from kdbench.method import Batch, Outputs
from kdbench.testing import check_method
from kdbench_classic.baselines import LabelSmoothing, Scratch
from kdbench_classic.hints import FitNet
from kdbench_classic.logits import LogitRegression, SoftTargets

shapes = st.tuples(st.integers(1, 7), st.integers(2, 6), st.integers(0, 2**31))


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    return mean_cross_entropy(logits.tolist(), labels.tolist())


def case(items: int, classes: int, seed: int) -> tuple[Batch, Outputs, Outputs]:
    stream = torch.Generator().manual_seed(seed)
    logits, other = (3 * torch.randn(items, classes, generator=stream, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(classes, (items,), generator=stream)
    inputs = torch.zeros(items, 1, dtype=torch.float64)
    batch = Batch(inputs, inputs, labels, torch.arange(items), 0.0, 0)
    return batch, Outputs(logits.requires_grad_(), {}, inputs), Outputs(other, {}, inputs)


def terms(method: kdbench.Method, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in method.loss(batch, student, teacher).items()}


@given(shapes)
def test_scratch_is_cross_entropy(shape):
    batch, student, teacher = case(*shape)
    assert terms(Scratch(), batch, student, teacher)["ce"] == pytest.approx(
        cross_entropy(student.logits, batch.labels), rel=1e-10
    )


@given(shapes, st.floats(0, 0.99))
def test_label_smoothing_is_cross_entropy_against_smoothed_labels(shape, epsilon):
    batch, student, teacher = case(*shape)
    classes = student.logits.shape[1]
    expected = 0.0
    for row, label in zip(student.logits.tolist(), batch.labels.tolist(), strict=True):
        for number, probability in enumerate(softmax(row)):
            target = (1 - epsilon) * (number == label) + epsilon / classes
            expected -= target * math.log(probability) / len(batch.labels)
    found = terms(LabelSmoothing(epsilon=epsilon), batch, student, teacher)["ce"]
    assert found == pytest.approx(expected, rel=1e-9)


@given(shapes, st.floats(0.5, 20), st.floats(0, 1))
def test_kd_is_hintons_objective(shape, temperature, alpha):
    batch, student, teacher = case(*shape)
    expected = alpha * soft_targets(student.logits.tolist(), teacher.logits.tolist(), temperature)
    found = terms(SoftTargets(temperature=temperature, alpha=alpha), batch, student, teacher)
    assert found["kd"] == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert found["ce"] == pytest.approx((1 - alpha) * cross_entropy(student.logits, batch.labels), rel=1e-8, abs=1e-12)


@given(shapes, st.floats(0, 10), st.floats(0, 2))
def test_logit_mse_is_half_the_mean_squared_difference(shape, weight, ce):
    batch, student, teacher = case(*shape)
    squares = [
        (a - b) ** 2
        for one, other in zip(student.logits.tolist(), teacher.logits.tolist(), strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    found = terms(LogitRegression(weight=weight, ce=ce), batch, student, teacher)
    assert found["mse"] == pytest.approx(weight * 0.5 * sum(squares) / len(squares), rel=1e-9)
    assert found["ce"] == pytest.approx(ce * cross_entropy(student.logits, batch.labels), rel=1e-9)


@pytest.mark.parametrize("method", [Scratch(), LabelSmoothing(), SoftTargets(), LogitRegression()])
@pytest.mark.parametrize("shape", [(1, 2), (4, 5)])
def test_gradients_of_the_student_are_those_of_finite_differences(method, shape):
    batch, student, teacher = case(*shape, seed=1)

    def loss(logits: Tensor) -> Tensor:
        return sum(method.loss(batch, Outputs(logits, {}, batch.inputs), teacher).values())

    assert torch.autograd.gradcheck(loss, (student.logits,))


def test_equal_logits_leave_no_soft_target_loss():
    batch, student, _ = case(4, 3, 0)
    found = terms(SoftTargets(), batch, student, Outputs(student.logits.detach(), {}, batch.inputs))
    assert found["kd"] == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("method", [Scratch, LabelSmoothing, SoftTargets, LogitRegression, FitNet])
def test_each_keeps_the_promises_of_a_method(method):
    check_method(method)


@pytest.mark.parametrize(
    ("method", "parameter", "value"),
    [
        (SoftTargets, "temperature", 0), (SoftTargets, "alpha", 1.5), (LabelSmoothing, "epsilon", 1),
        (LogitRegression, "weight", -1), (FitNet, "weight", -0.1), (FitNet, "student_layer", 3),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(method, parameter, value):
    with pytest.raises(kdbench.InvalidParameter, match=parameter):
        method(**{parameter: value})
