"""The data-free methods' losses against their formulas in plain Python, and the generator."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_formulas import soft_targets, softmax
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import ModelInfo, Outputs, Pair
from kdbench_datafree.adversary import ZeroShotTransfer
from kdbench_datafree.generator import NOISE, generator
from kdbench_datafree.prior import DataFreeLearning

weight = st.floats(0, 10)


def attention_map(maps: Tensor) -> list[list[float]]:
    """Each item's unit attention map, flat."""
    found = []
    for item in maps.tolist():
        channels, positions = len(item), [(y, x) for y in range(len(item[0])) for x in range(len(item[0][0]))]
        strength = [sum(item[c][y][x] ** 2 for c in range(channels)) / channels for y, x in positions]
        length = math.sqrt(sum(value * value for value in strength))
        found.append([value / length if length else 0.0 for value in strength])
    return found


def attention_distance(student: Tensor, teacher: Tensor) -> float:
    ours, theirs = attention_map(student), attention_map(teacher)
    squares = [(a - b) ** 2 for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    return sum(squares) / len(squares)


def random(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(items: int, classes: int, channels: int, seed: int) -> Outputs:
    features = {
        "first": random(items, channels, 3, 2, seed=seed + 1), "last": random(items, channels, 2, 2, seed=seed + 2),
        "penultimate": random(items, channels, seed=seed + 3),
    }  # fmt: skip
    return Outputs(random(items, classes, seed=seed), features, torch.zeros(items, 1))


def trainer_that_says(student: Outputs, teacher: Outputs) -> Any:
    return SimpleNamespace(student_outputs=lambda batch: student, teacher_outputs=lambda batch: teacher)


def values(found: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in found.items()}


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**31), weight)
@settings(max_examples=20, deadline=None)
def test_zskts_losses_are_the_papers_formulas(items, classes, seed, attention):
    student, teacher = outputs(items, classes, 4, seed), outputs(items, classes, 5, seed + 9)
    method = ZeroShotTransfer(layers=["first", "last", "penultimate"], attention=attention)
    divergence = soft_targets(student.logits.tolist(), teacher.logits.tolist())
    distance = sum(attention_distance(student.features[name], teacher.features[name]) for name in ("first", "last"))
    expected = {"kl": divergence, "attention": attention * distance}
    assert values(method.student_loss(student, teacher)) == pytest.approx(expected, rel=1e-8, abs=1e-9)
    found = values(method.generator_loss(trainer_that_says(student, teacher), None))
    assert found == pytest.approx({"generator": -divergence}, rel=1e-8, abs=1e-9)


def test_zskt_without_maps_has_no_attention_term():
    student, teacher = outputs(3, 4, 4, 0), outputs(3, 4, 4, 1)
    assert set(ZeroShotTransfer(layers=["penultimate"]).student_loss(student, teacher)) == {"kl"}


def test_zskt_with_maps_of_zero_is_finite():
    teacher = outputs(2, 3, 4, 0)
    logits, maps = (torch.zeros(2, *shape, dtype=torch.float64, requires_grad=True) for shape in ((3,), (4, 3, 2)))
    student = Outputs(logits, {"first": maps}, teacher.inputs)
    sum(ZeroShotTransfer(layers=["first"]).student_loss(student, teacher).values()).backward()
    assert maps.grad.isfinite().all()


@given(st.integers(1, 6), st.integers(2, 6), st.integers(0, 2**31), weight, weight, weight)
@settings(max_examples=20, deadline=None)
def test_dafls_losses_are_the_papers_formulas(items, classes, seed, one_hot, entropy, activation):
    student, teacher = outputs(items, classes, 4, seed), outputs(items, classes, 5, seed + 9)
    method = DataFreeLearning(one_hot=one_hot, entropy=entropy, activation=activation)
    probabilities = [softmax(row) for row in teacher.logits.tolist()]
    even = [sum(column) / items for column in zip(*probabilities, strict=True)]
    excited = [abs(value) for row in teacher.features["penultimate"].tolist() for value in row]
    expected = {
        "one_hot": one_hot * sum(-math.log(max(row)) for row in probabilities) / items,
        "entropy": entropy * sum(p * math.log10(p) for p in even if p > 1e-12),
        "activation": -activation * sum(excited) / len(excited),
    }
    found = values(method.generator_loss(trainer_that_says(student, teacher), None))
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)
    divergence = soft_targets(student.logits.tolist(), teacher.logits.tolist())
    assert values(method.student_loss(student, teacher)) == pytest.approx({"kl": divergence}, rel=1e-8, abs=1e-9)


def test_dafl_is_finite_where_the_teacher_never_answers_a_class():
    teacher = outputs(3, 3, 4, 0)
    logits = torch.tensor([[900.0, 0.0, -900.0]] * 3, dtype=torch.float64, requires_grad=True)
    terms = DataFreeLearning().generator_loss(trainer_that_says(None, Outputs(logits, teacher.features, logits)), None)
    sum(terms.values()).backward()
    assert logits.grad.isfinite().all()
    assert all(math.isfinite(value) for value in values(terms).values())


@pytest.mark.parametrize("cls", [ZeroShotTransfer, DataFreeLearning])
@pytest.mark.parametrize("items", [1, 3])
def test_the_students_gradient_is_that_of_finite_differences(cls, items):
    teacher, fixed = outputs(items, 4, 5, 1), outputs(items, 4, 4, 2)
    method = cls(layers=["first", "last"]) if cls is ZeroShotTransfer else cls()

    def loss(logits: Tensor, maps: Tensor) -> Tensor:
        student = Outputs(logits, {**fixed.features, "first": maps}, fixed.inputs)
        return sum(method.student_loss(student, teacher).values())

    maps = fixed.features["first"].requires_grad_(cls is ZeroShotTransfer)
    assert torch.autograd.gradcheck(loss, (fixed.logits.requires_grad_(), maps))


@pytest.mark.parametrize("cls", [ZeroShotTransfer, DataFreeLearning])
def test_the_generators_loss_has_the_gradient_of_finite_differences(cls):
    student, teacher = outputs(3, 4, 4, 1), outputs(3, 4, 5, 2)
    method = cls()

    def loss(logits: Tensor) -> Tensor:
        seen = Outputs(logits, teacher.features, teacher.inputs)
        return sum(method.generator_loss(trainer_that_says(student, seen), None).values())

    assert torch.autograd.gradcheck(loss, (teacher.logits.requires_grad_(),))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5), (2, 1, 9), (13,), (1,)])
def test_the_generator_makes_standardised_items_of_any_shape(shape):
    torch.manual_seed(0)
    made = generator(shape)(torch.randn(16, NOISE))
    assert made.shape == (16, *shape)
    axes = (0, 2, 3) if len(shape) == 3 else 0
    torch.testing.assert_close(made.mean(axes), torch.zeros(shape[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(made.std(axes, correction=0), torch.ones(shape[0]), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("cls", "name"), [(ZeroShotTransfer, "zskt"), (DataFreeLearning, "dafl")])
def test_different_views_and_batches_of_one_are_refused_by_name(cls, name):
    def pair(**options: Any) -> Pair:
        info = DatasetInfo("made up", "multiclass", 3, (4,), 9)
        sides = ModelInfo("small", nn.Identity()), ModelInfo("large", nn.Identity())
        return Pair(info, *sides, 2, **{"steps_per_epoch": 3} | options)

    cls().check(pair())
    with pytest.raises(kdbench.MethodRefused, match=f"method '{name}' .* the two models see different views"):
        cls().check(pair(shared_view=False))
    with pytest.raises(kdbench.MethodRefused, match=f"method '{name}' .* a batch has one item"):
        cls().check(pair(steps_per_epoch=9))
