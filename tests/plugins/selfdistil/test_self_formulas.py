"""The self-distillation methods against their formulas in plain Python, and their answers at the edges."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_formulas import mean_cross_entropy, soft_targets, softmax
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_selfdistil.classwise import ClasswiseSelfKD, partners
from kdbench_selfdistil.exits import BeYourOwnTeacher

weight = st.floats(0, 10)
temperature = st.floats(0.5, 10)


def batch_of(labels: Tensor) -> Batch:
    inputs = torch.zeros(len(labels), 1)
    return Batch(inputs, inputs, labels, torch.arange(len(labels)), 0.0, 0)


def values(found: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in found.items()}


def pair(module: nn.Module, features: dict[str, tuple[int, ...]], items: int = 50, steps: int = 5) -> Pair:
    info = DatasetInfo("made up", "multiclass", 3, (1, 8, 8), items)
    return Pair(info, ModelInfo("net", module, features), None, 2, steps)


def byot(shapes: tuple[tuple[int, ...], ...] = ((2, 4, 4), (3, 2, 2), (5, 2, 2)), **params: Any) -> BeYourOwnTeacher:
    """The method with exits in float64 on the first two of three stages."""
    torch.manual_seed(0)
    method = BeYourOwnTeacher(layers=["0", "1"], last="2", **params)
    made = pair(nn.Sequential(*(nn.Linear(1, 1) for _ in range(3))), dict(zip("012", shapes, strict=True)))
    method.check(made)
    method.module = method.build(made).double()
    return method


def features_of(items: int, shapes: tuple[tuple[int, ...], ...], seed: int) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return {
        str(number): torch.randn(items, *shape, generator=stream, dtype=torch.float64)
        for number, shape in enumerate(shapes)
    }


@pytest.mark.parametrize("shapes", [((2, 4, 4), (3, 2, 2), (5, 2, 2)), ((2, 5, 3), (6,), (4,)), ((7,), (6,), (4,))])
@given(
    st.integers(2, 6), st.integers(0, 2**31), st.fixed_dictionaries(
        {"alpha": st.floats(0, 1), "hint": weight, "temperature": temperature}))  # fmt: skip
@settings(max_examples=10, deadline=None)
def test_byot_is_the_papers_formula(shapes, items, seed, params):
    method = byot(shapes, **params)
    features = features_of(items, shapes, seed)
    stream = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(items, 3, generator=stream, dtype=torch.float64)
    labels = torch.randint(3, (items,), generator=stream)
    found = values(method.loss(batch_of(labels), Outputs(logits, features, logits), Outputs(logits, {}, logits)))
    truth, answers, deepest = labels.tolist(), logits.tolist(), features["2"]
    expected = {"ce": mean_cross_entropy(answers, truth), "exit_ce": 0.0, "exit_kd": 0.0, "hint": 0.0}
    for branch, layer in zip(method.module, "01", strict=True):
        feature = branch.bottleneck(features[layer])
        positions = feature.clamp_min(0).flatten(2) if feature.ndim == 4 else feature.clamp_min(0)[..., None]
        linear = branch.classifier[-1]
        rows = [
            [sum(w * sum(c) / len(c) for w, c in zip(ws, item, strict=True)) + b
             for ws, b in zip(linear.weight.tolist(), linear.bias.tolist(), strict=True)]
            for item in positions.tolist()
        ]  # fmt: skip
        differences = [a - b for a, b in zip(feature.flatten().tolist(), deepest.flatten().tolist(), strict=True)]
        expected["exit_ce"] += (1 - params["alpha"]) * mean_cross_entropy(rows, truth)
        expected["exit_kd"] += params["alpha"] * soft_targets(rows, answers, params["temperature"])
        expected["hint"] += params["hint"] * sum(d * d for d in differences) / len(differences)
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_byots_gradients_are_those_of_finite_differences_and_the_deepest_is_taken_as_given():
    shapes = ((2, 4, 4), (3, 2, 2), (5, 2, 2))
    method, features = byot(shapes), features_of(3, shapes, 1)
    logits = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 2])

    def terms(logits: Tensor, shallow: Tensor, deepest: Tensor) -> dict[str, Tensor]:
        seen = Outputs(logits, {**features, "0": shallow, "2": deepest}, logits)
        return method.loss(batch_of(labels), seen, seen)

    shallow, deepest = (features[name].requires_grad_() for name in "02")
    fixed = deepest.detach()
    assert torch.autograd.gradcheck(lambda s: sum(terms(logits.detach(), s, fixed).values()), (shallow,), atol=1e-6)
    assert torch.autograd.gradcheck(lambda x: terms(x, shallow.detach(), fixed)["ce"], (logits,))
    found = terms(logits, shallow, deepest)
    for term in (found["exit_ce"] + found["exit_kd"], found["hint"]):
        to_logits, to_deepest = torch.autograd.grad(term, (logits, deepest), retain_graph=True, allow_unused=True)
        assert to_logits is None
        assert to_deepest is None


def test_byot_with_features_that_are_zero_is_finite():
    shapes = ((2, 4, 4), (3, 2, 2), (5, 2, 2))
    method = byot(shapes)
    features = {name: torch.zeros_like(value, requires_grad=True) for name, value in features_of(2, shapes, 0).items()}
    logits = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    total = sum(method.loss(batch_of(torch.tensor([0, 0])), Outputs(logits, features, logits), None).values())
    total.backward()
    assert math.isfinite(float(total.detach()))
    assert features["0"].grad.isfinite().all()


def test_byot_refuses_a_student_without_a_shallow_layer():
    one = nn.Sequential(nn.Linear(4, 5))
    with pytest.raises(kdbench.MethodRefused, match="it has no layer for an exit before the last"):
        BeYourOwnTeacher().check(pair(one, {"first": (5,), "middle": (5,), "last": (5,)}))


def test_byot_gives_each_module_one_exit():
    two = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6))
    made = pair(two, {"first": (5,), "middle": (5,), "last": (6,), "1": (6,)})
    assert BeYourOwnTeacher().exits(made) == ["first"], "the middle of two stages is the first"
    assert BeYourOwnTeacher(layers=["first", "1"]).exits(made) == ["first"], "the last has its classifier"


def test_byot_refuses_exits_from_vectors_to_maps_and_batches_of_one():
    three = nn.Sequential(*(nn.Linear(1, 1) for _ in range(3)))
    wrong = pair(three, {"first": (5,), "middle": (5,), "last": (4, 2, 2)})
    with pytest.raises(kdbench.MethodRefused, match=r"cannot be brought to the shape of 'last'\n.*\(5,\)"):
        BeYourOwnTeacher().check(wrong)
    ones = pair(three, {"first": (5,), "middle": (5,), "last": (4,)}, items=9, steps=9)
    with pytest.raises(kdbench.MethodRefused, match="a batch has one item"):
        BeYourOwnTeacher().check(ones)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**31), temperature, weight)
@settings(max_examples=30, deadline=None)
def test_cs_kd_is_the_papers_formula(items, classes, seed, t, w):
    stream = torch.Generator().manual_seed(seed)
    ours, other = 3 * torch.randn(2, items, classes, generator=stream, dtype=torch.float64)
    labels = torch.randint(classes, (items,), generator=stream)
    method = ClasswiseSelfKD(temperature=t, weight=w)
    found = values(method.loss(batch_of(labels), Outputs(ours, {}, ours), Outputs(other, {}, other)))
    expected = {
        "ce": mean_cross_entropy(ours.tolist(), labels.tolist()),
        "class_kd": w * soft_targets(ours.tolist(), other.tolist(), t),
    }
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 3), (5, 4)])
def test_cs_kds_gradient_is_that_of_finite_differences(shape):
    ours, other = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(shape[0]) % shape[1]

    def loss(logits: Tensor) -> Tensor:
        return sum(
            ClasswiseSelfKD().loss(batch_of(labels), Outputs(logits, {}, logits), Outputs(other, {}, other)).values()
        )

    assert torch.autograd.gradcheck(loss, (ours.requires_grad_(),))


class OneStep:
    """What the method's step asks of a trainer; `optimize` leaves the gradients in the student's parameters."""

    augment = None

    def __init__(self, student: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        self.student = student
        self.train_data = SimpleNamespace(student=inputs, labels=labels)

    def generator(self, *purpose: str | int) -> torch.Generator:
        return torch.Generator().manual_seed(3)

    def student_outputs(self, batch: Batch) -> Outputs:
        return Outputs(self.student(batch.inputs), {}, batch.inputs)

    def optimize(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        sum(terms.values()).backward()
        return terms


@pytest.mark.parametrize("items", [1, 7])
def test_cs_kds_student_learns_towards_its_answers_for_the_partners_which_are_taken_as_given(items):
    """The gradient of a linear student by hand: nothing of it comes through the partners' pass."""
    torch.manual_seed(0)
    student, inputs = nn.Linear(3, 4, bias=False).double(), torch.randn(items, 3, dtype=torch.float64)
    labels = torch.arange(items) % 3
    method, trainer = ClasswiseSelfKD(temperature=2.5, weight=3.0), OneStep(student, inputs, labels)
    method.step(trainer, replace(batch_of(labels), inputs=inputs))
    answers = student(inputs).tolist()
    others = partners(labels, trainer.generator("partners", 0)).tolist()
    expected = torch.zeros_like(student.weight)
    for item, (row, other) in enumerate(zip(answers, others, strict=True)):
        soft, target, hard = softmax(row, 2.5), softmax(answers[other], 2.5), softmax(row)
        for c in range(4):
            error = hard[c] - (c == item % 3) + 3.0 * 2.5 * (soft[c] - target[c])
            expected[c] += error * inputs[item] / items
    torch.testing.assert_close(student.weight.grad, expected.detach())


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_partner_is_another_item_of_the_same_class_where_there_is_one(classes, seed):
    found = partners(torch.tensor(classes), torch.Generator().manual_seed(seed)).tolist()
    for item, partner in enumerate(found):
        assert classes[partner] == classes[item]
        assert (partner == item) == (classes.count(classes[item]) == 1)


def test_every_other_item_of_the_class_is_as_likely_a_partner():
    labels = torch.tensor([1, 0, 1, 1, 5, 1])
    stream = torch.Generator().manual_seed(0)
    drawn = torch.stack([partners(labels, stream) for _ in range(3000)])
    for item, others in ((0, [2, 3, 5]), (3, [0, 2, 5])):
        shares = [float((drawn[:, item] == other).float().mean()) for other in others]
        assert shares == pytest.approx([1 / 3] * 3, abs=0.04)
