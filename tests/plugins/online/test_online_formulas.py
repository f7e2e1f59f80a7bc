"""The online methods' losses against their papers' formulas in plain Python, at random and at the edges."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_formulas import mean_cross_entropy, soft_targets, softmax
from torch import Tensor, nn

import kdbench
from kdbench.method import Batch, Outputs
from kdbench_online.cohort import CollaborativeLearning, MutualLearning
from kdbench_online.early import EarlyStoppedKD
from kdbench_online.feedback import AdaptiveKD
from kdbench_online.generations import BornAgain
from kdbench_online.learning import LearningTeacher
from kdbench_online.native import NativeEnsemble

Rows = list[list[float]]
weight = st.floats(0, 10)
temperature = st.floats(0.5, 10)
sizes = st.tuples(st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**31))


class Answers(nn.Module):
    """A peer that gives the same logits whatever it is asked."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits


def random_logits(models: int, items: int, classes: int, seed: int) -> tuple[list[Tensor], Tensor]:
    stream = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(models, items, classes, generator=stream, dtype=torch.float64)
    return list(logits), torch.randint(classes, (items,), generator=stream)


def terms(
    method: kdbench.Method, student: Tensor, teacher: Tensor, labels: Tensor, progress: float = 0.0
) -> dict[str, Tensor]:
    inputs = torch.zeros(len(labels), 1)
    batch = Batch(inputs, inputs, labels, torch.arange(len(labels)), progress, 0)
    return dict(method.loss(batch, Outputs(student, {}, inputs), Outputs(teacher, {}, inputs)))


def values(found: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in found.items()}


def cohort(cls: type[kdbench.Method], logits: list[Tensor], **params: Any) -> kdbench.Method:
    method = cls(peers=["student"] * (len(logits) - 1), **params)
    method.module = nn.ModuleList(map(Answers, logits[1:]))
    return method


@given(sizes, st.integers(2, 4), weight)
@settings(max_examples=30, deadline=None)
def test_mutual_learning_is_the_papers_formula_for_any_number_of_models(size, models, w):
    logits, labels = random_logits(models, *size)
    found = values(terms(cohort(MutualLearning, logits, weight=w), logits[0], logits[0][:, :0], labels))
    rows, truth = [each.tolist() for each in logits], labels.tolist()
    taught = [
        w * sum(soft_targets(rows[i], rows[j]) for j in range(models) if j != i) / (models - 1) for i in range(models)
    ]
    errors = [mean_cross_entropy(each, truth) for each in rows]
    expected = {"ce": errors[0], "kl": taught[0], "peers_ce": sum(errors[1:]), "peers_kl": sum(taught[1:])}
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def ensemble_of(rows: list[Rows], labels: list[int], kind: str) -> Rows:
    made = []
    for item, label in enumerate(labels):
        if kind == "naive":
            errors = [-math.log(softmax(model[item])[label]) for model in rows]
            made.append(rows[errors.index(min(errors))][item])
        else:
            classes = range(len(rows[0][item]))
            made.append([min(model[item][c] - model[item][label] for model in rows) for c in classes])
    return made


@given(sizes, st.integers(2, 4), weight, temperature, st.sampled_from(["naive", "minlogit"]))
@settings(max_examples=40, deadline=None)
def test_collaborative_learning_is_the_papers_formula(size, models, w, t, kind):
    logits, labels = random_logits(models, *size)
    method = cohort(CollaborativeLearning, logits, weight=w, temperature=t, ensemble=kind)
    found = values(terms(method, logits[0], logits[0][:, :0], labels))
    rows, truth = [each.tolist() for each in logits], labels.tolist()
    target = ensemble_of(rows, truth, kind)
    taught = [w * soft_targets(each, target, t) for each in rows]
    errors = [mean_cross_entropy(each, truth) for each in rows]
    expected = {"ce": errors[0], "kl": taught[0], "peers_ce": sum(errors[1:]), "peers_kl": sum(taught[1:])}
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def native(logits: list[Tensor], **params: Any) -> tuple[NativeEnsemble, Tensor]:
    """The method with branches that give the logits but the first, which are the student's, and its random gate."""
    method = NativeEnsemble(branches=len(logits) - 1, **params)
    gates = torch.rand(len(logits[0]), len(logits), dtype=torch.float64).softmax(1)
    method.module = nn.ModuleDict({"branches": nn.ModuleList(map(Answers, logits[1:])), "gate": Answers(gates)})
    return method, gates


def native_terms(method: NativeEnsemble, student: Tensor, labels: Tensor) -> dict[str, Tensor]:
    inputs = torch.zeros(len(labels), 1)
    batch = Batch(inputs, inputs, labels, torch.arange(len(labels)), 0.0, 0)
    return dict(method.loss(batch, Outputs(student, {"middle": inputs}, inputs), None))


def gated(rows: list[Rows], share: Rows) -> Rows:
    models, items, classes = range(len(rows)), range(len(share)), range(len(rows[0][0]))
    return [[sum(share[n][b] * rows[b][n][c] for b in models) for c in classes] for n in items]


@given(sizes, st.integers(1, 3), weight, temperature)
@settings(max_examples=30, deadline=None)
def test_a_native_ensemble_is_the_papers_formula(size, branches, w, t):
    logits, labels = random_logits(1 + branches, *size)
    method, gates = native(logits, temperature=t, weight=w)
    found = values(native_terms(method, logits[0], labels))
    rows, truth = [each.tolist() for each in logits], labels.tolist()
    together = gated(rows, gates.tolist())
    taught = [w * soft_targets(each, together, t) for each in rows]
    errors = [mean_cross_entropy(each, truth) for each in rows]
    expected = {
        "ce": errors[0], "kl": taught[0], "branches_ce": sum(errors[1:]), "branches_kl": sum(taught[1:]),
        "ensemble_ce": mean_cross_entropy(together, truth),
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


@given(sizes, st.integers(1, 3), weight, temperature)
@settings(max_examples=30, deadline=None)
def test_a_native_ensemble_is_taught_by_labels_alone_and_its_branches_by_it_as_given(size, branches, w, t):
    """The gradients by hand: of the divergence they hold the ensemble fixed, or the gate would be pulled by it too."""
    logits, labels = random_logits(1 + branches, *size)
    student = logits[0].clone().requires_grad_()
    method, gates = native([student, *(each.clone() for each in logits[1:])], temperature=t, weight=w)
    sum(native_terms(method, student, labels).values()).backward()
    rows, share, items = [each.tolist() for each in logits], gates.tolist(), len(labels)
    to_models, to_gate = torch.zeros(len(rows), *logits[0].shape).tolist(), torch.zeros_like(gates).tolist()
    for n, (ensemble, label) in enumerate(zip(gated(rows, share), labels.tolist(), strict=True)):
        sure, soft = softmax(ensemble), softmax(ensemble, t)
        for b, model in enumerate(rows):
            own, own_soft = softmax(model[n]), softmax(model[n], t)
            for c in range(len(ensemble)):
                error = sure[c] - (c == label)
                own_error = own[c] - (c == label)
                to_models[b][n][c] = (own_error + share[n][b] * error + w * t * (own_soft[c] - soft[c])) / items
                to_gate[n][b] += error * model[n][c] / items
    found = [student.grad, *(branch.logits.grad for branch in method.module["branches"])]
    for gradient, expected in zip(found, to_models, strict=True):
        torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float64), rtol=1e-8, atol=1e-10)
    expected = torch.tensor(to_gate, dtype=torch.float64)
    torch.testing.assert_close(method.module["gate"].logits.grad, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 3), (4, 5)])
def test_without_its_divergence_a_native_ensembles_gradients_are_those_of_finite_differences(shape):
    logits, labels = random_logits(3, *shape, seed=5)
    method, _ = native(logits, weight=0.0)
    parameters = tuple(method.module.parameters())

    def loss(student: Tensor, *_: Tensor) -> Tensor:
        return sum(native_terms(method, student, labels).values())

    assert torch.autograd.gradcheck(loss, (logits[0].clone().requires_grad_(), *parameters))


@pytest.mark.parametrize(("cls", "params"), [
    (MutualLearning, {}), (CollaborativeLearning, {}), (CollaborativeLearning, {"ensemble": "minlogit"}),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(1, 3), (4, 5)])
def test_each_model_of_a_cohort_takes_the_others_as_given(cls, params, shape):
    """Its gradient is that of its own two terms with the others' answers held fixed, by finite differences."""
    logits, labels = random_logits(3, *shape, seed=2)

    def total(of: int, changed: Tensor, given: list[Tensor]) -> Tensor:
        """The loss of model `of` with targets from `given`, through a cohort in which `changed` stands for it."""
        targets = [each.detach() for each in given]
        method = cohort(cls, targets, **params)
        stacked = torch.stack([changed if n == of else each for n, each in enumerate(targets)])
        target = method.divergences(torch.stack(targets), labels)  # shape only
        assert target.shape == (3,)
        error = nn.functional.cross_entropy(changed, labels)
        if cls is MutualLearning:
            others = [each for n, each in enumerate(targets) if n != of]
            return error + sum(kdbench.kernels.kd_kl(changed, each) for each in others) / 2
        rows = [each.tolist() for each in targets]
        ensemble = torch.tensor(ensemble_of(rows, labels.tolist(), method.ensemble), dtype=torch.float64)
        return error + kdbench.kernels.kd_kl(stacked[of], ensemble, 2.0)

    student = logits[0].clone().requires_grad_()
    method = cohort(cls, [student, *logits[1:]], **params)
    sum(terms(method, student, student[:, :0], labels).values()).backward()
    gradients = [student.grad, *(peer.logits.grad for peer in method.module)]
    for of, found in enumerate(gradients):
        changed = logits[of].clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, of=of: total(of, x, logits), (changed,))
        (expected,) = torch.autograd.grad(total(of, changed, logits), changed)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("cls", [MutualLearning, CollaborativeLearning])
def test_models_that_agree_teach_each_other_nothing(cls):
    logits = [torch.ones(4, 3, dtype=torch.float64) for _ in range(3)]
    found = values(terms(cohort(cls, logits), logits[0], logits[0][:, :0], torch.tensor([0, 0, 2, 2])))
    assert found["kl"] == found["peers_kl"] == pytest.approx(0, abs=1e-12)
    assert found["ce"] == pytest.approx(math.log(3))


@given(sizes, temperature, st.floats(0, 1), weight, st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_the_learning_teachers_formula(size, t, alpha, teacher_ce, feedback):
    (student, teacher), labels = random_logits(2, *size)
    method = LearningTeacher(temperature=t, alpha=alpha, teacher_ce=teacher_ce, feedback=feedback)
    found = values(terms(method, student, teacher, labels))
    ours, theirs, truth = student.tolist(), teacher.tolist(), labels.tolist()
    expected = {
        "ce": (1 - alpha) * mean_cross_entropy(ours, truth), "kd": alpha * soft_targets(ours, theirs, t),
        "teacher_ce": teacher_ce * mean_cross_entropy(theirs, truth), "feedback": feedback * soft_targets(theirs, ours),
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_the_learning_teacher_and_the_student_take_each_other_as_given():
    (student, teacher), labels = random_logits(2, 5, 4, 7)
    student.requires_grad_()
    teacher.requires_grad_()
    found = terms(LearningTeacher(feedback=2.0), student, teacher, labels)
    for name, of, never in (("kd", student, teacher), ("feedback", teacher, student), ("teacher_ce", teacher, student)):
        reached, spared = torch.autograd.grad(found[name], (of, never), retain_graph=True, allow_unused=True)
        assert reached.abs().sum() > 0, name
        assert spared is None or not spared.any(), name
    fixed = teacher.detach()

    def loss(logits: Tensor) -> Tensor:
        return sum(terms(LearningTeacher(), logits, fixed, labels).values())

    assert torch.autograd.gradcheck(loss, (student,))


@given(sizes, temperature, st.floats(0, 1), st.floats(0, 1, exclude_min=True), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
@settings(max_examples=30, deadline=None)
def test_early_stopped_kd_is_kd_and_then_the_labels(size, t, alpha, distil, progress):
    (student, teacher), labels = random_logits(2, *size)
    method = EarlyStoppedKD(temperature=t, alpha=alpha, distil=distil)
    found = values(terms(method, student, teacher, labels, progress))
    error = mean_cross_entropy(student.tolist(), labels.tolist())
    expected = {"ce": error}
    if progress < distil:
        expected = {"ce": (1 - alpha) * error, "kd": alpha * soft_targets(student.tolist(), teacher.tolist(), t)}
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


@given(sizes, temperature, weight, weight)
@settings(max_examples=30, deadline=None)
def test_born_again_is_the_papers_formula(size, t, w, label_weight):
    (student, teacher), labels = random_logits(2, *size)
    found = values(terms(BornAgain(temperature=t, weight=w, ce=label_weight), student, teacher, labels))
    ours, theirs = student.tolist(), teacher.tolist()
    expected = {"ce": label_weight * mean_cross_entropy(ours, labels.tolist()), "kd": w * soft_targets(ours, theirs, t)}
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("cls", [AdaptiveKD, BornAgain, EarlyStoppedKD])
@pytest.mark.parametrize("shape", [(1, 3), (5, 2)])
def test_the_students_gradient_is_that_of_finite_differences(cls, shape):
    (student, teacher), labels = random_logits(2, *shape, seed=1)

    def loss(logits: Tensor) -> Tensor:
        return sum(terms(cls(), logits, teacher, labels).values())

    assert torch.autograd.gradcheck(loss, (student.requires_grad_(),))


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_early_stopped_kd_that_distils_nothing_is_refused(fraction):
    with pytest.raises(kdbench.InvalidParameter, match=r"(?s)distil=0.*scratch"):
        EarlyStoppedKD(distil=0, teacher_fraction=fraction)


def test_a_learning_teacher_that_learns_nothing_is_refused():
    with pytest.raises(kdbench.InvalidParameter, match="the teacher learns nothing"):
        LearningTeacher(teacher_ce=0)
