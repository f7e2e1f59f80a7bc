"""FitNet's hint: against its formula in plain Python, its gradients, its edges, and what its regressor cannot take."""

from __future__ import annotations

import pytest
import torch
from classic_formulas import regressed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_classic.hints import FitNet

Shape = tuple[int, ...]


def fitnet(shapes: tuple[Shape, Shape], items: int, seed: int) -> tuple[FitNet, Tensor, Tensor]:
    """The method with its regressor in float64, and a feature of the student's and of the teacher's shape."""
    torch.manual_seed(seed)
    method = FitNet(student_layer="s", teacher_layer="t", weight=7.0)
    info = DatasetInfo("made up", "multiclass", 3, (1,), items)
    models = (ModelInfo(name, nn.Identity(), {name: shape}) for name, shape in zip("st", shapes, strict=True))
    pair = Pair(info, *models, 1, 1, items)
    method.check(pair)
    method.module = method.build(pair).double()
    guided, hint = (torch.randn(items, *shape, dtype=torch.float64) for shape in shapes)
    return method, guided, hint


def hinted(method: FitNet, guided: Tensor, hint: Tensor) -> dict[str, Tensor]:
    items = len(guided)
    inputs, logits = torch.zeros(items, 1), torch.zeros(items, 3, dtype=guided.dtype)
    batch = Batch(inputs, inputs, torch.arange(items) % 3, torch.arange(items), 0.0, 0)
    return dict(method.loss(batch, Outputs(logits, {"s": guided}, inputs), Outputs(logits, {"t": hint}, inputs)))


sides = st.integers(1, 5)
maps, vectors = st.tuples(sides, sides, sides), st.tuples(sides)


@given(st.one_of(st.tuples(maps, maps), st.tuples(maps, vectors), st.tuples(vectors, vectors)), st.integers(2, 4),
       st.integers(0, 2**31))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_fitnet_is_the_weighted_mean_squared_difference_after_the_regressor(shapes, items, seed):
    method, guided, hint = fitnet(shapes, items, seed)
    projected = regressed(method.module, guided, shapes[1][1:])
    squares = [(a - b) ** 2 for a, b in zip(projected, hint.flatten().tolist(), strict=True)]
    found = float(hinted(method, guided, hint)["hint"].detach())
    assert found == pytest.approx(7 * sum(squares) / len(squares), rel=1e-7)


SHAPES = [((3, 4, 5), (2, 4, 5)), ((2, 5, 3), (4, 2, 2)), ((3, 2, 2), (2, 3, 5)), ((3, 3, 2), (4,)), ((5,), (3,))]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shapes", SHAPES)
def test_fitnets_gradients_reach_the_student_and_the_regressor(shapes, training):
    method, guided, hint = fitnet(shapes, 3, 1)
    method.module.train(training)

    def loss(features: Tensor, *_: Tensor) -> Tensor:
        return sum(hinted(method, features, hint).values())

    assert torch.autograd.gradcheck(loss, (guided.requires_grad_(), *method.module.parameters()))


@pytest.mark.parametrize("which", ["student", "teacher", "both", "one item"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shapes", SHAPES)
def test_zero_features_give_fitnets_number_and_finite_gradients(shapes, dtype, which):
    method, guided, hint = fitnet(shapes, 4, 2)
    for features, name in ((guided, "student"), (hint, "teacher")):
        if which in {name, "both"}:
            features.zero_()
        elif which == "one item":
            features[1] = 0
    projected = regressed(method.module, guided, shapes[1][1:])
    squares = [(a - b) ** 2 for a, b in zip(projected, hint.flatten().tolist(), strict=True)]
    method.module.to(dtype)
    guided = guided.to(dtype).requires_grad_()
    found = hinted(method, guided, hint.to(dtype))["hint"]
    tolerance = 1e-7 if dtype == torch.float64 else 2e-4
    assert float(found.detach()) == pytest.approx(7 * sum(squares) / len(squares), rel=tolerance, abs=1e-12)
    found.backward()
    for gradient in (guided.grad, *(parameter.grad for parameter in method.module.parameters())):
        assert gradient.isfinite().all()


def test_fitnets_batch_of_one_is_served_on_maps():
    method, guided, hint = fitnet(((3, 4, 4), (2, 2, 2)), 1, 3)
    found = hinted(method, guided.requires_grad_(), hint)["hint"]
    found.backward()
    assert found.isfinite()
    assert guided.grad.isfinite().all()
    assert guided.grad.any()


@pytest.mark.parametrize(
    ("shapes", "batch_size", "problem"),
    [
        (((4,), (4, 2, 2)), 64, "its regressor takes"), (((5, 8), (5, 8)), 64, "its regressor takes"),
        (((4,), (3,)), 1, "batch norm"), (((4, 2, 2), (3, 1, 1)), 1, "batch norm"),
        (((4, 2, 2), (3, 2, 2)), 1, ""), (((4,), (3,)), 2, ""), (((4, 2, 2), (3,)), 64, ""),
    ],
)  # fmt: skip
def test_fitnet_refuses_what_its_regressor_cannot_take_by_name_with_the_shapes(shapes, batch_size, problem):
    info = DatasetInfo("made up", "multiclass", 3, (1,), 9)
    models = (ModelInfo(name, nn.Identity(), {name: shape}) for name, shape in zip("st", shapes, strict=True))
    pair, method = Pair(info, *models, 1, 1, batch_size), FitNet(student_layer="s", teacher_layer="t")
    if not problem:
        method.check(pair)
        return
    with pytest.raises(kdbench.MethodRefused) as caught:
        method.check(pair)
    for part in ("method 'fitnet'", problem, *map(str, shapes)):
        assert part in str(caught.value)
