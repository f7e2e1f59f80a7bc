"""vid and ft, whose terms go through modules of their own: features that are zero, and batches of one."""

from __future__ import annotations

import math

import feature_formulas as formulas
import pytest
import torch
from feature_cases import LAYERS, MAPS, Shape, built, losses, make_pair, randn
from torch import Tensor

import kdbench
from kdbench_features.factors import FactorTransfer
from kdbench_features.information import VariationalInformation

CASES = [
    *((VariationalInformation, shapes) for shapes in (*MAPS, ((5,), (3,)), ((4, 3, 3), (6,)))),
    *((FactorTransfer, shapes) for shapes in MAPS),
]


def ready(cls: type[kdbench.Method], shapes: tuple[Shape, Shape], dtype: torch.dtype) -> kdbench.Method:
    """The method as it is when the student trains: ft's paraphraser is frozen then."""
    method = built(cls(**LAYERS, weight=3), shapes)
    method.module.to(dtype)
    if cls is FactorTransfer:
        method.module[0].paraphraser.freeze()
    return method


def by_hand(method: kdbench.Method, student: Tensor, teacher: Tensor) -> float:
    """Three times the formula over what the method's modules make of the features."""
    if isinstance(method, FactorTransfer):
        (factors,) = method.module
        mine, its = factors.translator(student), factors.paraphraser(teacher)
        return 3 * formulas.factor_gap(mine.detach().double(), its.detach().double())
    regressor, alphas = method.module["mean"][0], method.module["alpha"][0]
    variances = [method.min_variance + math.log1p(math.exp(alpha)) for alpha in alphas.flatten().tolist()]
    return 3 * formulas.likelihood(regressor(student).detach().double(), teacher.double(), variances)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", ["student", "teacher", "both", "one item"])
@pytest.mark.parametrize(("cls", "shapes"), CASES)
def test_zero_features_give_the_formulas_number_and_finite_gradients(cls, shapes, which, dtype):
    method = ready(cls, shapes, dtype)
    student, teacher = randn(4, *shapes[0]).to(dtype), randn(4, *shapes[1], seed=1).to(dtype)
    for features, name in ((student, "student"), (teacher, "teacher")):
        if which in {name, "both"}:
            features.zero_()
        elif which == "one item":
            features[1] = 0
    student.requires_grad_()
    (found,) = losses(method, student, teacher).values()
    expected = by_hand(method, student, teacher)
    tolerance = 1e-8 if dtype == torch.float64 else 2e-4
    assert float(found.detach()) == pytest.approx(expected, rel=tolerance, abs=tolerance)
    found.backward()
    learnt = [parameter for parameter in method.module.parameters() if parameter.requires_grad]
    assert learnt
    for value in (student, *learnt):
        assert value.grad.isfinite().all()
        assert value.grad.abs().max() < 1e4


@pytest.mark.parametrize(("cls", "shapes"), [case for case in CASES if len(case[1][1]) == 3])
def test_a_batch_of_one_is_served_on_maps(cls, shapes):
    cls(**LAYERS).check(make_pair(*shapes, batch_size=1))
    method = ready(cls, shapes, torch.float64)
    student, teacher = randn(1, *shapes[0]).requires_grad_(), randn(1, *shapes[1], seed=1)
    (found,) = losses(method, student, teacher).values()
    assert float(found.detach()) == pytest.approx(by_hand(method, student, teacher), rel=1e-8)
    found.backward()
    assert student.grad.isfinite().all()
    assert student.grad.any()


@pytest.mark.parametrize("shapes", [((5,), (3,)), ((4, 3, 3), (6,)), ((4, 2, 2), (3, 1, 1))])
def test_vid_refuses_batches_of_one_where_its_regressor_would_normalise_single_numbers(shapes):
    method = VariationalInformation(**LAYERS)
    method.check(make_pair(*shapes, batch_size=2))
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)method 'vid'.*a batch has one.*batch_size=64"):
        method.check(make_pair(*shapes, batch_size=1))
