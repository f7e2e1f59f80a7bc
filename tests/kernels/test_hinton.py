from __future__ import annotations

import pytest
import torch
from loss_table import inputs
from torch.nn import functional

from kdbench.kernels import kd_hinton, kd_hinton_and_grad, kd_kl

CE_OPTIONS = [
    {},
    {"label_smoothing": 0.2},
    {"label_smoothing": 1.0},
    {"weight": True},
    {"weight": True, "label_smoothing": 0.3},
    {"ignored": True},
    {"ignored": True, "weight": True, "label_smoothing": 0.1},
]


@pytest.mark.parametrize("options", CE_OPTIONS, ids=lambda o: "+".join(o) or "plain")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_its_cross_entropy_is_torch_cross_entropy(backend, options, dtype):
    data = inputs(8, 5, dtype=dtype)
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0], dtype=dtype) if options.get("weight") else None
    smoothing = options.get("label_smoothing", 0.0)
    labels = data.labels.clone()
    if options.get("ignored"):
        labels[::3] = -100
    expected_student, student = (data.student.clone().requires_grad_() for _ in range(2))
    expected = functional.cross_entropy(expected_student, labels, weight=weight, label_smoothing=smoothing)
    expected.backward()
    # alpha = 0: cross-entropy alone
    out = kd_hinton(student, data.teacher, labels, 2.0, 0.0, class_weight=weight, label_smoothing=smoothing)
    out.loss.backward()
    torch.testing.assert_close(out.loss.detach(), expected.detach())
    torch.testing.assert_close(out.ce, expected.detach())
    torch.testing.assert_close(student.grad, expected_student.grad)


def test_its_terms_are_those_of_the_rows_that_count_and_carry_no_gradient(backend):
    data = inputs(2, 4, 7)
    labels = data.labels.clone()
    labels[0, 1] = labels[1, 3] = -100
    counted = labels != -100
    out = kd_hinton(data.student.requires_grad_(), data.teacher, labels, 3.0, 0.25)
    kd = kd_kl(data.student[counted], data.teacher[counted], 3.0).detach()
    torch.testing.assert_close(out.kd, kd)
    torch.testing.assert_close(out.loss.detach(), 0.75 * out.ce + 0.25 * kd)
    assert out.loss.requires_grad
    assert not out.ce.requires_grad
    assert not out.kd.requires_grad


def test_ignored_rows_are_not_read(backend):
    data = inputs(4, 7)
    labels = data.labels.clone()
    labels[1] = -7
    student, teacher = data.student.clone(), data.teacher.clone()
    student[1], teacher[1] = torch.nan, torch.inf
    student.requires_grad_()
    out = kd_hinton(student, teacher, labels, 3.0, 0.5, ignore_index=-7)
    out.loss.backward()
    assert (student.grad[1] == 0).all()
    kept = [0, 2, 3]
    expected, gradient = kd_hinton_and_grad(data.student[kept], data.teacher[kept], labels[kept], 3.0, 0.5)
    torch.testing.assert_close(out.loss.detach(), expected.loss)
    torch.testing.assert_close(student.grad[kept], gradient)


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"class_weight": torch.arange(1.0, 6.0, dtype=torch.float64)}]
)
def test_a_class_may_be_the_label_that_is_ignored(backend, options):
    data = inputs(4, 5)
    labels = torch.tensor([0, 3, 2, 3])
    out, gradient = kd_hinton_and_grad(data.student, data.teacher, labels, 3.0, 0.5, ignore_index=3, **options)
    expected = functional.cross_entropy(
        data.student, labels, options.get("class_weight"), ignore_index=3,
        label_smoothing=options.get("label_smoothing", 0.0),
    )  # fmt: skip
    torch.testing.assert_close(out.ce, expected)
    kept = [0, 2]
    torch.testing.assert_close(out.kd, kd_kl(data.student[kept], data.teacher[kept], 3.0))
    alone = kd_hinton_and_grad(data.student[kept], data.teacher[kept], labels[kept], 3.0, 0.5, **options)[1]
    torch.testing.assert_close(gradient[kept], alone)
    assert (gradient[[1, 3]] == 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_but_ignored_rows_means_no_loss(backend, weighted):
    data = inputs(3, 5)
    weight = torch.ones(5) if weighted else None
    student = data.student.requires_grad_()
    out = kd_hinton(student, data.teacher, torch.full((3,), -100), class_weight=weight)
    out.loss.backward()
    assert [value.item() for value in out] == [0, 0, 0]
    assert (student.grad == 0).all()


def test_every_row_may_have_its_temperature(backend):
    data = inputs(3, 5)
    temperature = torch.tensor([1.0, 2.0, 5.0])
    labels = data.labels.clone()
    labels[2] = -100
    out = kd_hinton(data.student, data.teacher, labels, temperature, 0.5)
    expected = kd_kl(data.student[:2], data.teacher[:2], temperature[:2])
    torch.testing.assert_close(out.kd, expected)
    torch.testing.assert_close(out.ce, functional.cross_entropy(data.student, labels))


@pytest.mark.parametrize("options", CE_OPTIONS[1:], ids=lambda o: "+".join(o))
def test_derivatives_hold_with_every_option(backend, options):
    data = inputs(4, 5)
    labels = data.labels.clone()
    if options.get("ignored"):
        labels[1] = -100
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0]) if options.get("weight") else None
    student = data.student.requires_grad_()

    def loss(s):
        smoothing = options.get("label_smoothing", 0.0)
        return kd_hinton(s, data.teacher, labels, 2.0, 0.6, class_weight=weight, label_smoothing=smoothing).loss

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


def test_smoothing_over_a_masked_class_costs_infinitely_unless_its_weight_is_zero(backend):
    data = inputs(3, 5)
    labels = torch.zeros(3, dtype=torch.int64)
    data.student[:, 4] = data.teacher[:, 4] = -torch.inf
    out, gradient = kd_hinton_and_grad(data.student, data.teacher, labels, 2.0, 0.5, label_smoothing=0.1)
    assert out.ce == torch.inf
    assert gradient.isfinite().all()
    weight = torch.tensor([1.0, 1, 1, 1, 0])
    out = kd_hinton(data.student, data.teacher, labels, 2.0, 0.5, label_smoothing=0.1, class_weight=weight)
    assert out.loss.isfinite()


def test_in_place_the_gradient_takes_the_memory_of_the_logits(backend):
    data = inputs(5, 9, dtype=torch.float32)
    expected, gradient = kd_hinton_and_grad(data.student, data.teacher, data.labels)
    logits = data.student.clone()
    out, twin = kd_hinton_and_grad(logits, data.teacher, data.labels, in_place_grad=True)
    assert twin.data_ptr() == logits.data_ptr()
    torch.testing.assert_close(twin, gradient)
    torch.testing.assert_close(out.loss, expected.loss)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_term_of_weight_0_costs_nothing_where_it_is_infinite(backend, alpha):
    student = torch.randn(3, 5, dtype=torch.float64)
    teacher, labels = torch.randn(3, 5, dtype=torch.float64), torch.tensor([0, 1, 2])
    student[1, 4 if alpha == 0 else 1] = -torch.inf  # a class that the teacher gives some probability; the label
    if alpha == 1:
        teacher[1, 1] = -torch.inf
    student.requires_grad_()
    found = kd_hinton(student, teacher, labels, 2.0, alpha)
    infinite, counted = (found.kd, found.ce) if alpha == 0 else (found.ce, found.kd)
    assert infinite.isinf()
    torch.testing.assert_close(found.loss.detach(), counted.detach())
    found.loss.backward()
    assert student.grad.isfinite().all()
