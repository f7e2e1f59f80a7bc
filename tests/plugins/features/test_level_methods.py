"""ofd, ab, fsp and reviewkd against their papers' formulas; their gradients, edges and refusals."""

from __future__ import annotations

import dataclasses
from typing import Any

import level_formulas as formulas
import pytest
import torch
from feature_cases import CLASSES, LAYERS, MAPS, Shape, built, losses, make_batch, make_pair, numbers, randn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.models import inspect_model
from kdbench.method import Outputs, Pair
from kdbench.testing import check_method
from kdbench_features.boundaries import ActivationBoundaries
from kdbench_features.factors import FactorTransfer
from kdbench_features.flow import FlowOfSolution
from kdbench_features.margins import negative_mean
from kdbench_features.overhaul import Overhaul
from kdbench_features.review import KnowledgeReview
from kdbench_models.cnn import cnn_s
from kdbench_models.resnet import resnet8
from kdbench_models.shufflenet import shufflenetv1
from kdbench_models.wrn import wrn_16_1

PROJECTED = [*MAPS[:3], ((5,), (3,)), ((4, 3, 3), (6,))]
TWO_LAYERS = {"student_layers": ("a", "b"), "teacher_layers": ("a", "b")}
few = settings(max_examples=5, deadline=None)
items, seeds = st.integers(2, 4), st.integers(0, 2**31)


def with_norm(shapes: tuple[Shape, Shape]) -> Pair:
    """A pair whose teacher has its feature between a batch norm, of random scale and shift, and a ReLU."""
    pair, channels = make_pair(*shapes), shapes[1][0]
    norm = nn.BatchNorm1d(channels) if len(shapes[1]) == 1 else nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(randn(channels, seed=5))
        norm.bias.copy_(randn(channels, seed=6))
    module = nn.Sequential(norm, nn.ReLU())
    module.feature_layers = {"t": "1:input"}
    return dataclasses.replace(pair, teacher=dataclasses.replace(pair.teacher, module=module))


def ofd(shapes: tuple[Shape, Shape], **params: Any) -> Overhaul:
    torch.manual_seed(0)
    method, pair = Overhaul(**LAYERS, **params), with_norm(shapes)
    method.check(pair)
    method.module = method.build(pair).double()
    return method


@pytest.mark.parametrize(("mu", "sigma"), [(0, 1), (0.7, 0.4), (-2, 0.3), (3, 1), (-0.01, 5), (1.5, 0.25)])
def test_a_margin_is_the_expectation_of_the_negative_half_of_a_normal(mu, sigma):
    found = float(negative_mean(torch.tensor([float(mu)]), torch.tensor([float(sigma)])))
    assert found == pytest.approx(formulas.expected_negative(mu, sigma), rel=1e-4)


def test_margins_at_the_ends_are_finite_and_not_above_zero():
    means, deviations = torch.tensor([5.0, -5.0, 1e3, 0.0, 1.0]), torch.tensor([0.0, 0.0, 1e-3, 0.0, 1e-30])
    found = negative_mean(means, deviations)
    assert found.tolist()[:2] == [0.0, -5.0]
    assert (found <= 0).all()
    assert found.isfinite().all()


@pytest.mark.parametrize("shapes", PROJECTED)
@given(items=items, seed=seeds)
@few
def test_ofd_is_the_partial_distance_from_the_margin_relu(shapes, items, seed):
    method = ofd(shapes, weight=3)
    norm = with_norm(shapes).teacher.module[0]
    margins = [
        formulas.expected_negative(mu, abs(scale), 20_000)
        for mu, scale in zip(norm.bias.tolist(), norm.weight.tolist(), strict=True)
    ]
    student, teacher = randn(items, *shapes[0], seed=seed), 2 * randn(items, *shapes[1], seed=seed + 1)
    projected = method.module[0].regressor(student)
    expected = 3 * formulas.partial_distance(projected, teacher, margins)
    assert numbers(losses(method, student, teacher))["ofd"] == pytest.approx(expected, rel=1e-4)


def test_ofds_shallower_layers_count_less():
    pair = with_norm(MAPS[0])
    one = {"s": pair.student.features["s"]}
    pair.teacher.module.feature_layers = dict.fromkeys(("a", "b"), "1:input")
    pair = dataclasses.replace(pair, student=dataclasses.replace(pair.student, features={"a": one["s"], "b": one["s"]}),
                               teacher=dataclasses.replace(pair.teacher,
                                                           features=dict.fromkeys(("a", "b"), MAPS[0][1])))  # fmt: skip
    method = Overhaul(**TWO_LAYERS, weight=1, shallower=0.25)
    method.module = method.build(pair).double()
    student, teacher, logits = randn(3, *MAPS[0][0]), randn(3, *MAPS[0][1], seed=1), randn(3, CLASSES)
    found = method.loss(make_batch(3), Outputs(logits, {"a": student, "b": student}, logits),
                        Outputs(logits, {"a": teacher, "b": teacher}, logits))  # fmt: skip
    distances = [float(layer(student, teacher).detach()) for layer in method.module]
    assert float(found["ofd"].detach()) == pytest.approx(0.25 * distances[0] + distances[1])


def test_ofds_measured_margins_are_the_mean_of_each_channels_negative_values():
    method = built(Overhaul(**LAYERS, margins="measured"), MAPS[1])
    batches = [randn(3, *MAPS[1][1], seed=seed) for seed in range(2)]
    batches[0][:, 1], batches[1][:, 1] = 1.0, 2.0
    for teacher in batches:
        method.module[0].observe(teacher)
    whole = torch.cat(batches).transpose(0, 1).flatten(1).tolist()
    expected = [
        sum(value for value in channel if value < 0) / max(1, sum(value < 0 for value in channel)) for channel in whole
    ]
    assert expected[1] == 0
    assert method.module[0].margins.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("build", [resnet8, wrn_16_1, shufflenetv1])
def test_residual_networks_tell_their_sums_and_the_norms_that_lead_to_them(build):
    info = DatasetInfo("made up", "multiclass", CLASSES, (1, 8, 8), 20)
    torch.manual_seed(0)
    model = build(info).eval()
    images, names = torch.randn(2, 1, 8, 8), Overhaul().teacher_layers
    described = inspect_model(model, Entry("teacher", "t", build, "p"), info, images, names)
    pair = Pair(info, described, described, 1, 1)
    method = Overhaul()
    method.check(pair)
    assert all((layer.margins < -0.1).all() for layer in method.build(pair))


def without_norm(shapes: tuple[Shape, Shape]) -> Pair:
    pair = with_norm(shapes)
    module = nn.Sequential(nn.Identity(), nn.ReLU())
    module.feature_layers = {"t": "1:input"}
    return dataclasses.replace(pair, teacher=dataclasses.replace(pair.teacher, module=module))


def test_ofd_asked_for_a_batch_norms_margins_refuses_a_teacher_without_one_and_names_the_way_out():
    pair = without_norm(MAPS[0])
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'ofd'.*teacher 'big', 't': '1:input'.*margins=auto"):
        Overhaul(**LAYERS, margins="batch_norm").check(pair)
    for margins in ("auto", "measured"):
        Overhaul(**LAYERS, margins=margins).check(pair)


def test_ofds_margins_are_the_batch_norms_where_there_is_one_and_search_does_not_choose_them():
    method, asked = ofd(MAPS[0]), ofd(MAPS[0], margins="batch_norm")
    assert method.module[0].margins.equal(asked.module[0].margins)
    assert (method.module[0].margins < 0).all()
    bare = Overhaul(**LAYERS).build(without_norm(MAPS[0]))
    assert not bare[0].margins.any(), "to be measured"
    assert Overhaul.search_space()["margins"].fixed


def in_stage(method: kdbench.Method, student: dict[str, Tensor], teacher: dict[str, Tensor], progress: float):
    count = len(next(iter(student.values())))
    batch, logits = dataclasses.replace(make_batch(count), progress=progress), randn(count, CLASSES, seed=9)
    return method.loss(batch, Outputs(logits, student, logits), Outputs(logits[:, [1, 0, 2]], teacher, logits))


@pytest.mark.parametrize("shapes", PROJECTED)
@given(items=items, seed=seeds)
@few
def test_ab_is_the_squared_shortfall_from_the_margin(shapes, items, seed):
    method = built(ActivationBoundaries(**LAYERS, weight=2, margin=0.7), shapes)
    student, teacher = randn(items, *shapes[0], seed=seed), randn(items, *shapes[1], seed=seed + 1)
    teacher.flatten()[0] = 0.0
    found = in_stage(method, {"s": student}, {"t": teacher}, 0.1)
    expected = 2 * formulas.boundary(method.module[0](student), teacher, 0.7)
    assert numbers(found) == pytest.approx({"ab": expected}, rel=1e-9)


@pytest.mark.parametrize("sizes", [((4, 5), (4, 5)), ((6, 4), (3, 2)), ((5, 3), (3, 2))])
@given(items=items, seed=seeds)
@few
def test_fsp_is_the_mean_square_between_the_flow_matrices(sizes, items, seed):
    student = [randn(items, channels, *size, seed=seed) for channels, size in zip((3, 2), sizes, strict=True)]
    teacher = [randn(items, channels, *sizes[0], seed=seed + 1) for channels in (3, 2)]
    found = in_stage(FlowOfSolution(**TWO_LAYERS), dict(zip("ab", student, strict=True)),
                     dict(zip("ab", teacher, strict=True)), 0.0)  # fmt: skip
    expected = 50 * formulas.flow_gap(tuple(student), tuple(teacher))
    assert numbers(found) == pytest.approx({"fsp": expected}, rel=1e-9)


@pytest.mark.parametrize("kd", [0.0, 0.5])
@pytest.mark.parametrize("cls", [ActivationBoundaries, FlowOfSolution])
def test_the_second_stage_is_labels_and_soft_targets(cls, kd):
    method = cls(**TWO_LAYERS, kd=kd, temperature=3, first_stage=0.25)
    assert method.needs.logits == (kd > 0)
    found = in_stage(method, {"a": randn(4, 3)}, {"a": randn(4, 3)}, 0.25)
    logits = randn(4, CLASSES, seed=9)
    assert set(found) == ({"ce", "kd"} if kd else {"ce"})
    torch.testing.assert_close(found["ce"], nn.functional.cross_entropy(logits, make_batch(4).labels))
    if kd:
        p, q = (logits[:, [1, 0, 2]] / 3).softmax(1), (logits / 3).softmax(1)
        torch.testing.assert_close(found["kd"], kd * 9 * (p * (p / q).log()).sum(1).mean())


REVIEWED = [
    (((3, 6, 4), (4, 6, 4)), ((2, 3, 2), (5, 3, 4)), ((4,), (3,))),
    (((2, 5, 5), (3, 5, 5)), ((3, 3, 3), (2, 2, 2))),
    (((2, 9, 8), (3, 9, 8)),),
]


def review(shapes: tuple[tuple[Shape, Shape], ...], **params: Any) -> tuple[KnowledgeReview, Pair]:
    names = tuple("abc"[: len(shapes)])
    method = KnowledgeReview(student_layers=names, teacher_layers=names, **params)
    pair = make_pair((1,), (1,))
    pair = dataclasses.replace(
        pair,
        student=dataclasses.replace(pair.student, features=dict(zip(names, [one for one, _ in shapes], strict=True))),
        teacher=dataclasses.replace(pair.teacher, features=dict(zip(names, [two for _, two in shapes], strict=True))),
    )
    torch.manual_seed(0)
    method.check(pair)
    method.module = method.build(pair).double()
    return method, pair


def features(shapes: tuple[tuple[Shape, Shape], ...], which: int, seed: int) -> dict[str, Tensor]:
    named = zip("abc", shapes, strict=False)
    return {name: randn(2, *pair[which], seed=seed + n) for n, (name, pair) in enumerate(named)}


@pytest.mark.parametrize("shapes", REVIEWED)
@given(seed=seeds)
@few
def test_reviewkd_is_the_context_loss_of_the_fused_levels(shapes, seed):
    method, _ = review(shapes, weight=3, warmup=0, width=2)
    method.module.eval()
    student, teacher = features(shapes, 0, seed), features(shapes, 1, seed + 9)
    expected, known = 0.0, [None, None]
    for fusion, name in zip(reversed(method.module.fusions), reversed(student), strict=True):
        reduce, expand, made = fusion.reduce, fusion.expand, []
        height, width = (*teacher[name].shape[2:], 1, 1)[:2]
        for item in range(2):
            level = student[name][item]
            level = level.reshape(*level.shape, 1, 1).tolist() if level.ndim == 1 else level.tolist()
            level = formulas.convolved(level, reduce[0].weight.tolist(), [0.0] * 2)
            level = formulas.normalized(level, reduce[1].weight.tolist(), reduce[1].bias.tolist())
            if known[item] is not None:
                before = formulas.resized(known[item], len(level[0]), len(level[0][0]))
                attention = fusion.attention
                level = formulas.attended(level, before, attention.weight.tolist(), attention.bias.tolist())
            known[item] = level
            out = formulas.convolved(formulas.resized(level, height, width), expand[0].weight.tolist(),
                                     [0.0] * len(teacher[name][0]))  # fmt: skip
            made.append(formulas.normalized(out, expand[1].weight.tolist(), expand[1].bias.tolist()))
        expected += formulas.context(torch.tensor(made, dtype=torch.float64).view_as(teacher[name]), teacher[name])
    logits = randn(2, CLASSES)
    found = method.loss(make_batch(2), Outputs(logits, student, logits), Outputs(logits, teacher, logits))
    assert float(found["hcl"].detach()) == pytest.approx(3 * expected, rel=1e-8)


def test_reviewkds_weight_rises_over_its_warm_up():
    method, _ = review(REVIEWED[1], warmup=4)
    student, teacher, logits = features(REVIEWED[1], 0, 0), features(REVIEWED[1], 1, 5), randn(2, CLASSES)
    found = []
    for epoch in (0, 1, 3, 9):
        batch = dataclasses.replace(make_batch(2), epoch=epoch)
        terms = method.loss(batch, Outputs(logits, student, logits), Outputs(logits, teacher, logits))
        found.append(float(terms["hcl"].detach()))
    assert [value / found[-1] for value in found] == pytest.approx([0.25, 0.5, 1, 1])


GRADIENTS = {
    "ofd": lambda: ofd(MAPS[1]),
    "ab": lambda: built(ActivationBoundaries(**LAYERS), MAPS[1]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_reach_the_student_through_the_regressor(name):
    method = GRADIENTS[name]()
    method.module.eval()
    student, teacher = randn(3, *MAPS[1][0]).requires_grad_(), randn(3, *MAPS[1][1], seed=1)
    assert torch.autograd.gradcheck(
        lambda one: in_stage(method, {"s": one}, {"t": teacher}, 0.0)[name], (student,)
    )  # fmt: skip


def test_fsps_gradients_reach_both_layers():
    method = FlowOfSolution(**TWO_LAYERS)
    student = [randn(2, 3, 4, 3).requires_grad_(), randn(2, 2, 2, 3, seed=1).requires_grad_()]
    teacher = {"a": randn(2, 3, 4, 3, seed=2), "b": randn(2, 2, 2, 3, seed=3)}
    assert torch.autograd.gradcheck(
        lambda one, other: in_stage(method, {"a": one, "b": other}, teacher, 0.0)["fsp"], student
    )


@pytest.mark.parametrize("shapes", REVIEWED)
def test_reviewkds_gradients_reach_every_level(shapes):
    method, _ = review(shapes, warmup=0, width=2)
    method.module.eval()
    student, teacher = features(shapes, 0, 0), features(shapes, 1, 5)
    logits = randn(2, CLASSES)

    def loss(*levels: Tensor) -> Tensor:
        outputs = Outputs(logits, dict(zip(student, levels, strict=True)), logits)
        return method.loss(make_batch(2), outputs, Outputs(logits, teacher, logits))["hcl"]

    assert torch.autograd.gradcheck(loss, tuple(value.requires_grad_() for value in student.values()))


@pytest.mark.parametrize("which", ["student", "teacher", "both"])
@pytest.mark.parametrize("name", ["ofd", "ab", "fsp", "reviewkd"])
def test_zero_features_give_finite_numbers_and_gradients(name, which):
    shape = (3, 4, 4)
    made = {
        "ofd": lambda: ofd((shape, shape)),
        "ab": lambda: built(ActivationBoundaries(**LAYERS), (shape, shape)),
        "fsp": lambda: FlowOfSolution(**TWO_LAYERS),
        "reviewkd": lambda: review(((shape, shape), (shape, shape)))[0],
    }
    method = made[name]()
    student = {layer: randn(3, *shape, seed=1) * (which == "teacher") for layer in method.student_layers}
    teacher = {layer: randn(3, *shape, seed=2) * (which == "student") for layer in method.teacher_layers}
    for value in student.values():
        value.requires_grad_()
    total = sum(in_stage(method, student, teacher, 0.0).values())
    total.backward()
    assert total.isfinite()
    assert all(value.grad.isfinite().all() for value in student.values())


@pytest.mark.parametrize(
    ("method", "shapes", "problem"),
    [
        (FlowOfSolution, ((3, 4, 4), (5, 4, 4)), "as many channels"), (FlowOfSolution, ((3,), (3,)), "feature maps"),
        (KnowledgeReview, ((3, 4, 4), (3,)), "maps (C, H, W) of both models, or vectors"),
        (ActivationBoundaries, ((3,), (4, 2, 2)), "its regressor takes"),
        (Overhaul, ((3,), (4, 2, 2)), "its regressor takes"),
    ],
)  # fmt: skip
def test_features_that_cannot_be_matched_are_refused_by_name_with_their_shapes(method, shapes, problem):
    with pytest.raises(kdbench.MethodRefused) as caught:
        method(**LAYERS).check(make_pair(*shapes))
    message = str(caught.value)
    for part in (f"method {method.name!r}", problem, "'small'", "'big'", *map(str, shapes)):
        assert part in message


def test_fsp_refuses_a_single_layer():
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'fsp'.*two layers of a model"):
        FlowOfSolution(**LAYERS).check(make_pair((3, 4, 4), (3, 4, 4)))


@pytest.mark.parametrize("method", [ActivationBoundaries, KnowledgeReview, Overhaul])
def test_vectors_in_batches_of_one_cannot_be_normalised(method):
    with pytest.raises(kdbench.MethodRefused, match=rf"(?s)'{method.name}'.*a batch has one.*batch_size=64"):
        method(**LAYERS).check(make_pair((3,), (4,), batch_size=1))


@pytest.mark.parametrize("method", [FactorTransfer, KnowledgeReview])
@pytest.mark.parametrize(
    ("shapes", "refused"),
    [(((3, 1, 1), (4, 2, 2)), True), (((3, 2, 2), (4, 1, 1)), True), (((3, 2, 1), (4, 1, 2)), False)],
)
def test_a_single_position_of_either_model_cannot_be_normalised_in_batches_of_one(method, shapes, refused):
    made, pair = built(method(**LAYERS), shapes), make_pair(*shapes, batch_size=1)
    features = [randn(1, *shape) for shape in shapes]
    if not refused:
        made.check(pair)
        assert losses(made, *features)
        return
    with pytest.raises(kdbench.MethodRefused, match=rf"(?s)'{made.name}'.*batch norm.*a batch has one.*batch_size=64"):
        made.check(pair)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        losses(made, *features)


@pytest.mark.parametrize(
    ("method", "parameter", "value"),
    [
        (Overhaul, "margins", "none"), (Overhaul, "shallower", 0), (Overhaul, "weight", -1),
        (ActivationBoundaries, "first_stage", 0), (ActivationBoundaries, "first_stage", 1),
        (ActivationBoundaries, "margin", 0), (FlowOfSolution, "kd", -1), (FlowOfSolution, "temperature", 0),
        (KnowledgeReview, "width", 0), (KnowledgeReview, "warmup", -1), (KnowledgeReview, "student_layers", ()),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(method, parameter, value):
    with pytest.raises(kdbench.InvalidParameter, match=parameter):
        method(**{parameter: value})


WIDE = {"student_layers": ("stage1", "stage2"), "teacher_layers": ("stage1", "stage2")}
PRE = {"student_layers": ("stage1:pre", "stage2:pre"), "teacher_layers": ("stage1:pre", "stage2:pre")}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (Overhaul, PRE), (Overhaul, {**PRE, "margins": "measured"}), (ActivationBoundaries, {**PRE, "kd": 0.9}),
        (KnowledgeReview, {"student_layers": ("stage1", "stage2", "penultimate"),
                           "teacher_layers": ("stage1", "stage2", "penultimate")}),
        (KnowledgeReview, WIDE),
    ],
)  # fmt: skip
def test_each_keeps_the_promises_of_a_method(method, params):
    check_method(method, **params)


@pytest.mark.parametrize("kd", [0.0, 0.9])
def test_fsp_keeps_the_promises_of_a_method_on_a_pair_of_equal_widths(kd):
    check_method(FlowOfSolution, student=cnn_s, teacher=cnn_s, kd=kd, epochs=8)
