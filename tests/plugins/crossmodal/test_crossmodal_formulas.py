"""Each cross-modal method's terms against its paper's formula in plain float64 loops, its gradients and its edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench.testing import check_method
from kdbench_crossmodal.contrast import ContrastiveCrossModal
from kdbench_crossmodal.multilingual import Multilingual
from kdbench_crossmodal.soft import CrossSoft
from kdbench_crossmodal.supervision import SupervisionTransfer

LAYERS = {"student_layers": ("s",), "teacher_layers": ("t",)}
CLASSES = 3


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_batch(items: int, labels: list[int] | None = None, progress: float = 0.0) -> Batch:
    labels = torch.arange(items) % CLASSES if labels is None else torch.tensor(labels)
    inputs = torch.zeros(items, 1, dtype=torch.float64)
    return Batch(inputs, inputs, labels, torch.arange(items), progress, 0)


def make_pair(
    student: tuple[int, ...] = (4,), teacher: tuple[int, ...] = (4,), *, items: int = 20, steps: int = 1,
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((5,), (5,)),
) -> Pair:  # fmt: skip
    info, other = (DatasetInfo("made up", "multiclass", CLASSES, shape, items) for shape in shapes)
    models = ModelInfo("small", nn.Identity(), {"s": student}), ModelInfo("big", nn.Identity(), {"t": teacher})
    return Pair(info, *models, 1, steps, batch_size=-(-items // steps), teacher_dataset=other)


def built(method: kdbench.Method, pair: Pair) -> kdbench.Method:
    torch.manual_seed(0)
    method.check(pair)
    method.module = method.build(pair).double()
    return method


def probabilities(logits: Tensor, temperature: float) -> list[float]:
    raised = [math.exp(float(z) / temperature) for z in logits]
    return [value / sum(raised) for value in raised]


def soft_labels(student: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        p, q = probabilities(other, temperature), probabilities(one, temperature)
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


def info_nce(one: Tensor, other: Tensor, allowed: list[list[bool]], temperature: float) -> float:
    def cosine(a: Tensor, b: Tensor) -> float:
        return float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b)))

    total = 0.0
    for i, anchor in enumerate(one):
        scores = [math.exp(cosine(anchor, each) / temperature) for each in other]
        total -= math.log(scores[i] / sum(score for j, score in enumerate(scores) if allowed[i][j]))
    return total / len(one)


@pytest.mark.parametrize("items", [1, 2, 7])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_labels_are_the_divergence_alone(items, temperature):
    student, teacher = randn(items, CLASSES), randn(items, CLASSES, seed=1)
    method = built(CrossSoft(temperature=temperature, weight=2), make_pair())
    terms = method.loss(make_batch(items), Outputs(student, {}, student), Outputs(teacher, {}, teacher))
    assert terms.keys() == {"kd"}
    assert terms["kd"].item() == pytest.approx(2 * soft_labels(student, teacher, temperature), rel=1e-9)


def test_equal_logits_have_no_soft_label_loss():
    logits = randn(5, CLASSES)
    method = built(CrossSoft(), make_pair())
    terms = method.loss(make_batch(5), Outputs(logits, {}, logits), Outputs(logits, {}, logits))
    assert terms["kd"].item() == pytest.approx(0, abs=1e-12)


def test_the_labelled_share_is_exact_and_its_cross_entropy_is_a_mean_over_it():
    method = built(CrossSoft(labelled=0.25), make_pair(items=20))
    known = method.module.has_label.tolist()
    assert sum(known) == 5
    logits, batch = randn(20, CLASSES), make_batch(20)
    terms = method.loss(batch, Outputs(logits, {}, logits), Outputs(logits, {}, logits))
    expected = [
        -math.log(probabilities(row, 1)[label])
        for row, label, used in zip(logits, batch.labels.tolist(), known, strict=True)
        if used
    ]
    assert terms["ce"].item() == pytest.approx(sum(expected) / 5, rel=1e-9)
    assert built(CrossSoft(labelled=0.25), make_pair(items=20)).module.has_label.tolist() == known
    assert built(CrossSoft(labelled=1), make_pair(items=20)).module.has_label.all()


def test_a_batch_without_a_labelled_item_has_no_cross_entropy():
    method = built(CrossSoft(labelled=0.25, weight=0), make_pair(items=20))
    without = (~method.module.has_label).nonzero().flatten()[:3]
    batch = make_batch(3)
    batch.index = without
    logits = randn(3, CLASSES).requires_grad_()
    terms = method.loss(batch, Outputs(logits, {}, logits), Outputs(logits.detach(), {}, logits))
    assert terms["ce"].item() == 0
    (gradient,) = torch.autograd.grad(sum(terms.values()), logits)
    assert not gradient.any()


@pytest.mark.parametrize(
    ("student", "teacher"), [((4,), (6,)), ((3, 4, 4), (2, 2, 2)), ((3, 4, 4), (5,)), ((4,), (4,))]
)
def test_supervision_transfer_matches_the_projected_features(student, teacher):
    method = built(SupervisionTransfer(**LAYERS, weight=3), make_pair(student, teacher))
    one, other, batch = randn(6, *student), randn(6, *teacher, seed=1), make_batch(6)
    logits = randn(6, CLASSES)
    terms = method.loss(batch, Outputs(logits, {"s": one}, one), Outputs(logits, {"t": other}, other))
    assert terms.keys() == {"match"}
    projected = method.module[0](one)
    pairs = list(zip(projected.flatten().tolist(), other.flatten().tolist(), strict=True))
    assert terms["match"].item() == pytest.approx(3 * sum((a - b) ** 2 for a, b in pairs) / len(pairs), rel=1e-9)
    later = method.loss(
        make_batch(6, progress=0.5), Outputs(logits, {"s": one}, one), Outputs(logits, {"t": other}, other)
    )
    assert later.keys() == {"ce"}


@pytest.mark.parametrize("labels", [None, [0, 0, 0, 0, 0], [0, 0, 1, 1, 2]])
@pytest.mark.parametrize("negatives", ["all", "other-class"])
def test_the_contrast_is_info_nce_both_ways(labels, negatives):
    method = built(
        ContrastiveCrossModal(**LAYERS, size=4, temperature=0.5, negatives=negatives), make_pair((3,), (2, 2, 1))
    )
    one, other, batch = randn(5, 3), randn(5, 2, 2, 1, seed=1), make_batch(5, labels)
    terms = method.loss(
        batch, Outputs(randn(5, CLASSES), {"s": one}, one), Outputs(randn(5, CLASSES), {"t": other}, other)
    )
    labels = batch.labels.tolist()
    allowed = [[i == j or negatives == "all" or labels[i] != labels[j] for j in range(5)] for i in range(5)]
    student, teacher = method.module[0][0](one), method.module[0][1](other.flatten(1))
    expected = info_nce(student, teacher, allowed, 0.5) + info_nce(teacher, student, allowed, 0.5)
    assert terms["contrast"].item() == pytest.approx(0.8 * expected, rel=1e-9, abs=1e-12)
    assert "ce" in terms


def test_the_contrast_is_finite_at_zero_features_and_large_scores():
    method = built(ContrastiveCrossModal(**LAYERS, temperature=0.01), make_pair())
    nn.init.zeros_(method.module[0][0].bias)
    one = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    other = 1e6 * randn(4, 4)
    logits = randn(4, CLASSES)
    terms = method.loss(make_batch(4), Outputs(logits, {"s": one}, one), Outputs(logits, {"t": other}, other))
    (gradient,) = torch.autograd.grad(terms["contrast"], one)
    assert terms["contrast"].isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("student", "teacher"), [(4, 4), (3, 5)])
@pytest.mark.parametrize("items", [1, 6])
def test_multilingual_matches_the_source_embedding_from_both_languages(items, student, teacher):
    method = built(
        Multilingual(student_layer="s", teacher_layer="t", weight=2, ce=0.5), make_pair((student,), (teacher,))
    )
    target, source, wanted = randn(items, student), randn(items, student, seed=1), randn(items, teacher, seed=2)
    logits, batch = randn(items, CLASSES), make_batch(items)
    terms = method.terms(
        batch, Outputs(logits, {"s": target}, target), Outputs(logits, {"s": source}, source),
        Outputs(logits, {"t": wanted}, wanted),
    )  # fmt: skip
    for name, seen in (("target", target), ("source", source)):
        flat = zip(method.module(seen).flatten().tolist(), wanted.flatten().tolist(), strict=True)
        mean = sum((a - b) ** 2 for a, b in flat) / wanted.numel()
        assert terms[name].item() == pytest.approx(2 * mean, rel=1e-9)
    ce = sum(-math.log(probabilities(row, 1)[y]) for row, y in zip(logits, batch.labels.tolist(), strict=True)) / items
    assert terms["ce"].item() == pytest.approx(0.5 * ce, rel=1e-9)
    assert isinstance(method.module, nn.Identity) == (student == teacher)


@pytest.mark.parametrize(
    "method",
    [
        CrossSoft(labelled=0.5),
        SupervisionTransfer(**LAYERS),
        ContrastiveCrossModal(**LAYERS, size=3, temperature=0.5),
        ContrastiveCrossModal(**LAYERS, size=3, temperature=0.5, negatives="other-class"),
    ],
)
def test_the_students_gradients_are_those_of_the_loss(method):
    method = built(method, make_pair())
    teacher = Outputs(randn(5, CLASSES, seed=4), {"t": randn(5, 4, seed=5)}, randn(5, 4))

    def loss(logits: Tensor, features: Tensor) -> Tensor:
        return sum(method.loss(make_batch(5), Outputs(logits, {"s": features}, features), teacher).values())

    inputs = randn(5, CLASSES).requires_grad_(), randn(5, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)


def test_the_gradients_of_both_languages_are_those_of_the_loss():
    method = built(Multilingual(student_layer="s", teacher_layer="t"), make_pair((3,), (4,)))
    teacher = Outputs(randn(5, CLASSES), {"t": randn(5, 4)}, randn(5, 4))

    def loss(logits: Tensor, target: Tensor, source: Tensor) -> Tensor:
        outputs = (Outputs(logits, {"s": features}, features) for features in (target, source))
        return sum(method.terms(make_batch(5), *outputs, teacher).values())

    assert torch.autograd.gradcheck(loss, tuple(randn(5, size, seed=size).requires_grad_() for size in (3, 3, 3)))


@pytest.mark.parametrize(
    ("method", "pair", "message"),
    [
        (CrossSoft(weight=0), make_pair(), "nothing to learn from"),
        (CrossSoft(weight=0, labelled=0.01), make_pair(), "less than one item"),
        (CrossSoft(labelled=0.01), make_pair(), "less than one item"),
        (SupervisionTransfer(**LAYERS), make_pair((4,), (2, 3, 3)), r"'gupta'.*cannot be projected"),
        (ContrastiveCrossModal(**LAYERS), make_pair(steps=20), "a batch has one"),
        (Multilingual(student_layer="s", teacher_layer="t"), make_pair(shapes=((5,), (7,))), "teacher's view too"),
        (Multilingual(student_layer="s", teacher_layer="t"), make_pair((3, 2, 2)), "needs an embedding"),
    ],
)
def test_a_pair_that_cannot_be_served_is_refused(method, pair, message):
    with pytest.raises(kdbench.MethodRefused, match=message):
        method.check(pair)


def test_gupta_that_matches_nothing_is_refused():
    with pytest.raises(kdbench.InvalidParameter, match=r"(?s)matching=0.*scratch"):
        SupervisionTransfer(matching=0)


@pytest.mark.parametrize("cls", [CrossSoft, SupervisionTransfer, ContrastiveCrossModal, Multilingual])
def test_a_method_keeps_what_kdbench_promises(cls):
    check_method(cls)
