"""simkd with its convolutional projector: against a calculation of its own, its gradients, edges and refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from feature_cases import CLASSES, make_batch, randn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import ModelInfo, Outputs, Pair
from kdbench.testing import check_method
from kdbench_features.reuse import ReusedClassifier

Shape = tuple[int, int, int]
SIZES = [
    ((3, 4, 4), (6, 4, 4)),
    ((2, 6, 4), (5, 3, 4)),
    ((3, 4, 4), (8, 8, 8)),
    ((4, 5, 2), (6, 2, 5)),
    ((2, 1, 1), (4, 3, 3)),
]
MAPS = "penultimate:maps"


class Small(nn.Module):
    """A classifier of the average of what a convolution of 1x1 makes of maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(2, channels, 1), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.head(self.body(x)))


def made_pair(student: Shape, teacher: Shape, *, batch_size: int = 64) -> Pair:
    torch.manual_seed(0)
    models = [ModelInfo(name, Small(shape[0]).double(), {MAPS: shape, "penultimate": shape[:1]})
              for name, shape in (("small", student), ("big", teacher))]  # fmt: skip
    return Pair(DatasetInfo("made up", "multiclass", CLASSES, (2, *student[1:]), 20), *models, 1, 1, batch_size)


def built(pair: Pair, **params: object) -> ReusedClassifier:
    method = ReusedClassifier(**params)
    method.check(pair)
    assert method.build(pair) is None
    pair.student.module.double()
    return method


def loss(method: ReusedClassifier, pair: Pair, inputs: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the logits of the student that is scored."""
    logits = pair.student.module(inputs)
    found = method.loss(make_batch(len(inputs)), Outputs(logits, {}, inputs), Outputs(logits, {MAPS: maps}, inputs))
    assert set(found) == {"feature"}
    return found["feature"], logits


def averaged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean over the positions that each of the fewer, spread evenly, stands for."""
    (height, width), (rows, columns) = maps.shape[2:], size
    result = maps.new_zeros(*maps.shape[:2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            down = slice(row * height // rows, -(-(row + 1) * height // rows))
            across = slice(column * width // columns, -(-(column + 1) * width // columns))
            result[:, :, row, column] = maps[:, :, down, across].mean((2, 3))
    return result


def convolved(maps: Tensor, weight: Tensor) -> Tensor:
    """A convolution without bias, a sum over the places of its kernel; zeros around the maps."""
    height, width = maps.shape[2:]
    reach = weight.shape[2] // 2
    around = maps.new_zeros(*maps.shape[:2], height + 2 * reach, width + 2 * reach)
    around[:, :, reach : reach + height, reach : reach + width] = maps
    result = maps.new_zeros(len(maps), len(weight), height, width)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            part = around[:, :, row : row + height, column : column + width]
            result += torch.einsum("nchw,oc->nohw", part, weight[:, :, row, column])
    return result


def normalized(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Batch norm in training, and ReLU."""
    mean = maps.mean((0, 2, 3), keepdim=True)
    variance = (maps - mean).square().mean((0, 2, 3), keepdim=True)
    values = (maps - mean) / (variance + 1e-5).sqrt()
    return (values * scale[:, None, None] + shift[:, None, None]).clamp_min(0)


@pytest.mark.parametrize("shapes", SIZES)
@given(items=st.integers(2, 4), seed=st.integers(0, 2**31), reduction=st.sampled_from([1, 2, 100]))
@settings(max_examples=6, deadline=None)
def test_three_convolutions_of_the_maps_regress_the_teachers_and_feed_its_classifier(shapes, items, seed, reduction):
    pair = made_pair(*shapes)
    method = built(pair, weight=3, reduction=reduction)
    student, teacher = pair.student.module, pair.teacher.module
    inputs, maps = randn(items, 2, *shapes[0][1:], seed=seed), randn(items, *shapes[1], seed=seed + 1)
    projector = student.head[0].projector
    norms = [layer for layer in projector if isinstance(layer, nn.BatchNorm2d)]
    weights = [layer.weight for layer in projector if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for number, norm in enumerate(norms):
            norm.weight.copy_(randn(len(norm.weight), seed=number))
            norm.bias.copy_(randn(len(norm.bias), seed=number + 9))
    middle = max(1, shapes[1][0] // reduction)
    assert [tuple(weight.shape) for weight in weights] == [
        (middle, shapes[0][0], 1, 1), (middle, middle, 3, 3), (shapes[1][0], middle, 1, 1)
    ]  # fmt: skip
    found, logits = loss(method, pair, inputs, maps)
    size = tuple(map(min, shapes[0][1:], shapes[1][1:]))
    hidden = averaged(student.body(inputs), size)
    for weight, norm in zip(weights, norms, strict=True):
        hidden = normalized(convolved(hidden, weight), norm.weight, norm.bias)
    torch.testing.assert_close(found, 3 * (hidden - averaged(maps, size)).square().mean())
    answers = hidden.mean((2, 3)) @ teacher.fc.weight.T + teacher.fc.bias
    torch.testing.assert_close(logits, answers)


@pytest.mark.parametrize("shapes", [SIZES[0], SIZES[1]])
def test_its_gradients_reach_the_student_and_the_projector_and_not_the_classifier(shapes):
    pair = made_pair(*shapes)
    method = built(pair)
    student, maps = pair.student.module, randn(3, *shapes[1], seed=1)
    inputs = randn(3, 2, *shapes[0][1:]).requires_grad_()
    for norm in (layer for layer in student.head[0].projector if isinstance(layer, nn.BatchNorm2d)):
        nn.init.uniform_(norm.bias, 0.5, 1.0)  # off the kink of ReLU
    assert torch.autograd.gradcheck(lambda given: loss(method, pair, given, maps)[0], (inputs,))
    loss(method, pair, inputs, maps)[0].backward()
    assert all(parameter.grad.any() for parameter in student.body.parameters())
    assert all(parameter.grad is not None for parameter in student.head[0].projector.parameters())
    assert student.fc.weight.grad is None
    assert student.fc is not pair.teacher.module.fc


def test_features_that_are_zero_everywhere_have_a_loss_and_finite_gradients():
    pair = made_pair((3, 4, 4), (6, 4, 4))
    method, student = built(pair), pair.student.module
    nn.init.zeros_(student.body.weight)
    nn.init.zeros_(student.body.bias)
    found, logits = loss(method, pair, randn(3, 2, 4, 4), torch.zeros(3, 6, 4, 4, dtype=torch.float64))
    assert found.item() == 0
    found.backward()
    assert all(p.grad.isfinite().all() for p in student.parameters() if p.requires_grad)
    torch.testing.assert_close(logits, pair.teacher.module.fc.bias.expand(3, -1))


def test_a_teacher_with_maps_gives_vectors_to_a_student_without():
    pair = made_pair((3, 4, 4), (6, 4, 4))
    flat = ModelInfo(
        "flat", nn.Sequential(nn.Flatten(), nn.Linear(32, 5), nn.Linear(5, CLASSES)).double(), {MAPS: (5,)}
    )
    pair = dataclasses.replace(pair, student=flat)
    method = built(pair, weight=2)
    inputs, maps = randn(4, 2, 4, 4), randn(4, 6, 4, 4, seed=1)
    found, logits = loss(method, pair, inputs, maps)
    head = flat.module[2]
    flat.module.train()
    projected = head.projector(flat.module[1](flat.module[0](inputs)))
    torch.testing.assert_close(found, 2 * (projected - maps.mean((2, 3))).square().mean())
    torch.testing.assert_close(logits, pair.teacher.module.fc(projected))


def test_convolutions_are_refused_where_a_model_has_no_maps():
    pair = made_pair((3, 4, 4), (6, 4, 4))
    flat = ModelInfo("flat", nn.Sequential(nn.Flatten(), nn.Linear(32, CLASSES)), {MAPS: (32,)})
    pair = dataclasses.replace(pair, student=flat)
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'simkd'.*student 'flat' reads .* \(32,\).*projector=auto"):
        ReusedClassifier(projector="conv").check(pair)
    ReusedClassifier().check(pair)


@pytest.mark.parametrize(("size", "projector", "refused"), [
    ((1, 1), "auto", True), ((2, 1), "auto", False), ((2, 1), "linear", True)
])  # fmt: skip
def test_batches_of_one_are_refused_where_batch_norm_would_see_one_number(size, projector, refused):
    pair, method = made_pair((3, *size), (6, 2, 2), batch_size=1), ReusedClassifier(projector=projector)
    if not refused:
        method.check(pair)
        return
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'simkd'.*a batch has one item.*recipe\.batch_size=64"):
        method.check(pair)


def test_what_decides_the_students_size_is_not_searched():
    space = ReusedClassifier.search_space()
    assert {name for name, search in space.items() if not search.fixed} == {"weight"}
    for name, value in (("projector", "none"), ("reduction", 0)):
        with pytest.raises(kdbench.InvalidParameter, match=name):
            ReusedClassifier(**{name: value})


@pytest.mark.parametrize("projector", ["auto", "conv", "linear"])
def test_it_keeps_the_promises_of_a_method(projector):
    check_method(ReusedClassifier, projector=projector)
