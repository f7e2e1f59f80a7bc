"""Each logit method's loss against its paper's formula in plain Python, its gradient, and its answers at the edges."""

from __future__ import annotations

from typing import Any

import logit_references as references
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logit_cases import a_pair, logits_of, method_class, ready, terms
from torch import Tensor

import kdbench
from kdbench_logits import METHODS

positive = st.floats(0.5, 10)
weight = st.floats(0, 10)
PARAMETERS = {
    "kd_tuned": {"temperature": positive, "weight": weight, "ce": weight},
    "dkd": {"temperature": positive, "alpha": weight, "beta": weight, "ce": weight, "warmup": st.integers(0, 30)},
    "dist": {"temperature": positive, "beta": weight, "gamma": weight, "ce": weight},
    "lskd": {
        "base": st.sampled_from(["kd", "dkd"]), "temperature": positive, "weight": weight, "ce": weight,
        "alpha": weight, "beta": weight,
    },
    "mlkd": {
        "temperatures": st.lists(positive, min_size=1, max_size=4), "kd_weight": weight, "batch_weight": weight,
        "class_weight": weight, "ce": weight,
    },
    "ctkd": {
        "alpha": st.floats(0, 1), "lowest": st.floats(0.5, 2), "initial": st.floats(2.5, 8), "span": st.floats(9, 30),
        "loops": st.integers(1, 12),
    },
    "tf_kd": {"temperature": st.floats(1, 40), "alpha": st.floats(0, 1), "accuracy": st.floats(0.5, 0.999)},
    "wsld": {"temperature": positive, "weight": weight},
    "nkd": {"temperature": positive, "gamma": weight, "ce": weight},
    "normkd": {"norm_temperature": positive, "weight": weight, "ce": weight},
    "ttm": {"temperature": positive, "weight": weight, "weighted": st.booleans()},
}  # fmt: skip
NEEDS_THREE_CLASSES = ("lskd", "normkd")
VARIANTS = [(name, {}) for name in METHODS] + [("lskd", {"base": "dkd"}), ("ttm", {"weighted": True})]
MATCHING = {
    "kd_tuned": ["kd"], "dkd": ["dkd"], "dist": ["inter", "intra"], "lskd": ["kd"],
    "mlkd": ["instance", "batch", "class"], "ctkd": ["kd"], "wsld": ["kd"], "nkd": ["others"], "normkd": ["kd"],
}  # fmt: skip


def gradient(method: kdbench.Method, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    student = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(sum(terms(method, student, teacher, labels).values()), student)
    return found


def of_base(params: dict[str, Any]) -> dict[str, Any]:
    """Without alpha and beta where base="kd" has no such weights."""
    return {
        name: value for name, value in params.items() if params.get("base") != "kd" or name not in {"alpha", "beta"}
    }


@pytest.mark.parametrize("name", METHODS)
def test_every_term_is_the_papers_formula(name):
    reference: references.Reference = getattr(references, name)
    fewest = 3 if name in NEEDS_THREE_CLASSES else 2

    @given(
        st.tuples(st.integers(1, 7), st.integers(fewest, 6), st.integers(0, 2**31)),
        st.fixed_dictionaries(PARAMETERS[name]).map(of_base),
        st.integers(0, 30),
    )
    @settings(max_examples=30, deadline=None)
    def check(shape, params, epoch):
        method = ready(name, **params)
        student, teacher, labels = logits_of(*shape)
        expected = reference(method, student.tolist(), teacher.tolist(), labels.tolist(), epoch)
        found = {key: float(value.detach()) for key, value in terms(method, student, teacher, labels, epoch).items()}
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)

    check()


@pytest.mark.parametrize("shape", [(1, 3), (4, 5), (7, 3)])
@pytest.mark.parametrize(("name", "params"), [variant for variant in VARIANTS if variant[0] != "wsld"])
def test_the_students_gradient_is_that_of_finite_differences(name, params, shape):
    method = ready(name, **params)
    student, teacher, labels = logits_of(*shape, seed=3)

    def loss(logits: Tensor) -> Tensor:
        return sum(terms(method, logits, teacher, labels).values())

    assert torch.autograd.gradcheck(loss, (student.requires_grad_(),))


@pytest.mark.parametrize("shape", [(1, 3), (4, 5), (7, 2)])
def test_wsld_takes_its_weights_as_constants(shape):
    method = ready("wsld", temperature=3.0, weight=2.0)
    student, teacher, labels = logits_of(*shape, seed=4)
    shares = references.wsld_shares(student.tolist(), teacher.tolist(), labels.tolist())
    found = gradient(method, student, teacher, labels)
    for row, ours, theirs, label, share in zip(
        found.tolist(), student.tolist(), teacher.tolist(), labels.tolist(), shares, strict=True
    ):
        p, q, hard = references.softmax(theirs, 3.0), references.softmax(ours, 3.0), references.softmax(ours)
        expected = [(hard[k] - (k == label) + 2.0 * share * 3.0 * (q[k] - p[k])) / len(shares) for k in range(len(row))]
        assert row == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("epoch", "strength"), [(0, 0.0244717), (4, 0.5), (9, 1.0), (25, 1.0)])
def test_ctkds_temperature_gets_its_gradient_reversed_and_scaled_by_the_curriculum(epoch, strength):
    method = ready("ctkd")
    student, teacher, labels = logits_of(6, 4, 5)
    theta = method.module.theta
    (found,) = torch.autograd.grad(terms(method, student, teacher, labels, epoch)["kd"], theta)
    step, values = 1e-5, []
    for change in (step, -step):
        with torch.no_grad():
            theta += change
            values.append(references.ctkd(method, student.tolist(), teacher.tolist(), labels.tolist(), epoch)["kd"])
            theta -= change
    assert float(found) == pytest.approx(-strength * (values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("name", MATCHING)
def test_a_student_that_equals_the_teacher_has_nothing_left_to_match(name):
    method = ready(name)
    student, _, labels = logits_of(5, 4, 6)
    student.requires_grad_()
    found = terms(method, student, student.detach().clone(), labels)
    matched = [found[key] for key in MATCHING[name]]
    assert [float(value.detach()) for value in matched] == pytest.approx([0] * len(matched), abs=1e-12)
    (left,) = torch.autograd.grad(sum(matched), student)
    assert left.abs().max() < 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_values_and_gradients_stay_finite_at_the_edges(name, params, dtype):
    method = ready(name, **params)
    if method.module is not None:
        method.module.to(dtype)
    student, teacher, labels = (part.to(dtype) if part.is_floating_point() else part for part in logits_of(4, 3, 7))
    zero, sure = torch.zeros_like(student), 1000 * torch.eye(3, dtype=dtype)[labels]
    first = torch.zeros_like(labels)  # the other classes are absent
    cases = {
        "batch of one": (student[:1], teacher[:1], labels[:1]), "one class alone": (student, teacher, first),
        "student all equal": (zero, teacher, labels), "teacher all equal": (student, zero, labels),
        "both all equal": (zero, zero, labels), "student sure": (sure, teacher, labels),
        "teacher sure": (student, sure, labels), "both sure": (sure, sure, labels),
        "sure and wrong": (sure, sure.roll(1, 1), labels),
        "one item repeated": (student[:1].expand(4, 3), teacher, labels),
    }  # fmt: skip
    for case, arguments in cases.items():
        for key, value in terms(method, *arguments).items():
            assert value.isfinite(), (case, key)
            assert value >= -100 * torch.finfo(dtype).eps, (case, key)  # weights and T² magnify rounding up to 50 times
        assert gradient(method, *arguments).isfinite().all(), case


def test_dists_constant_rows_and_columns_count_as_nothing():
    method = ready("dist", ce=0.0)
    student, teacher, labels = logits_of(3, 4, 8)
    student[1] = 2.0
    found = terms(method, student, teacher, labels)
    rows = references.dist(method, *([x.tolist()[row] for row in (0, 2)] for x in (student, teacher)), [0, 0], 0)
    assert float(found["inter"]) == pytest.approx(rows["inter"] * 2 / 3, rel=1e-9)
    found = terms(method, student[:1].expand(3, 4), teacher, labels)
    assert float(found["intra"]) == 0


def test_dkds_weight_rises_to_one_over_the_warm_up():
    method = ready("dkd", warmup=4)
    case = logits_of(3, 4, 9)
    full = float(terms(ready("dkd", warmup=0), *case)["dkd"])
    found = [float(terms(method, *case, epoch=epoch)["dkd"]) / full for epoch in range(6)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize("name", NEEDS_THREE_CLASSES)
def test_two_classes_are_refused_where_standardising_leaves_nothing(name):
    method = ready(name)
    assert "binary" not in method.tasks
    with pytest.raises(kdbench.MethodRefused, match=rf"(?s){name}.*made up.*\(N, 2\).*use kd or dkd"):
        method.check(a_pair(classes=2))
    method.check(a_pair(classes=3))
    student = torch.tensor([[0.0, 3.0], [4.0, -2.0], [1.0, 4.0]], dtype=torch.float64, requires_grad=True)
    (left,) = torch.autograd.grad(
        terms(method, student, student.detach().flip(0), torch.tensor([1, 0, 0]))["kd"], student
    )
    assert left.abs().max() < 1e-6, "the term that is refused would teach nothing"


@pytest.mark.parametrize("initial", [1.0, 0.5, 21.0, 40.0])
def test_ctkd_refuses_a_first_temperature_outside_its_range(initial):
    with pytest.raises(kdbench.InvalidParameter, match=rf"(?s)initial={initial}.*lowest=1.0.*21.0"):
        method_class("ctkd")(initial=initial)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("kd_tuned", "temperature", 0), ("kd_tuned", "weight", -1), ("dkd", "warmup", -1), ("dkd", "warmup", 1.5),
        ("dkd", "beta", -0.1), ("dist", "gamma", -1), ("lskd", "base", "dist"), ("mlkd", "temperatures", []),
        ("mlkd", "temperatures", [2.0, 0.0]), ("ctkd", "loops", 0), ("ctkd", "alpha", 2), ("tf_kd", "accuracy", 1),
        ("wsld", "weight", -1), ("nkd", "gamma", -1), ("normkd", "norm_temperature", 0), ("ttm", "weighted", "maybe"),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_by_name(name, parameter, value):
    with pytest.raises(kdbench.InvalidParameter, match=parameter):
        method_class(name)(**{parameter: value})
