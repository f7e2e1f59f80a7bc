from __future__ import annotations

import float64_references as references
import pytest
import torch
from loss_table import inputs

from kdbench.errors import InvalidParameter
from kdbench.kernels import kd_kl, kd_kl_and_grad


def rows_of(data, temperature=1.0):
    """Reference losses (N,)."""
    per_row = torch.as_tensor(temperature, dtype=torch.float64).expand(len(data.student)).tolist()
    pairs = zip(data.student.detach().double().numpy(), data.teacher.double().numpy(), per_row, strict=True)
    return torch.tensor([references.kl(s, t, one) for s, t, one in pairs], dtype=torch.float64)


def test_it_is_torch_kl_div_of_log_softmax(backend):
    data = inputs(8, 12, dtype=torch.float32)
    log_q, log_p = (torch.log_softmax(x / 4, -1) for x in (data.student, data.teacher))
    expected = torch.nn.functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * 16
    torch.testing.assert_close(kd_kl(data.student, data.teacher, 4.0), expected)


@pytest.mark.parametrize(
    ("reduction", "divisor"), [("batchmean", 6), ("mean", 6 * 11), ("sum", 1)], ids=["batchmean", "mean", "sum"]
)
def test_reductions_divide_the_sum_over_rows(backend, reduction, divisor):
    data = inputs(6, 11)
    loss = kd_kl(data.student, data.teacher, 2.0, reduction=reduction)
    assert loss.item() == pytest.approx(rows_of(data, 2.0).sum().item() / divisor, rel=1e-12)


def test_without_reduction_each_row_has_its_loss_and_its_own_upstream_gradient(backend):
    data = inputs(2, 3, 11)
    student = data.student.requires_grad_()
    losses = kd_kl(student, data.teacher, 2.0, reduction="none")
    assert losses.shape == (2, 3)
    flat = rows_of(inputs(6, 11), 2.0)
    torch.testing.assert_close(losses.detach().reshape(-1), flat)
    losses *= 1.0  # a result may be changed in place
    upstream = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    losses.backward(upstream)
    gradients = [
        torch.autograd.grad(kd_kl(row, t, 2.0), row)[0]
        for row, t in zip(
            (r.clone().requires_grad_() for r in student.detach().reshape(6, 11)),
            data.teacher.reshape(6, 11),
            strict=True,
        )
    ]
    expected = torch.stack(gradients).reshape(2, 3, 11) * upstream.unsqueeze(-1)
    torch.testing.assert_close(student.grad, expected)
    values, gradient = kd_kl_and_grad(student, data.teacher, 2.0, reduction="none")
    assert values.shape == (2, 3)
    torch.testing.assert_close(gradient, torch.stack(gradients).reshape(2, 3, 11))


def test_the_gradient_is_the_closed_form(backend):
    data = inputs(5, 9)
    _, gradient = kd_kl_and_grad(data.student, data.teacher, 3.0)
    expected = (torch.softmax(data.student / 3, -1) - torch.softmax(data.teacher / 3, -1)) * 3 / 5
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("scale", [True, False])
def test_every_row_may_have_its_temperature(backend, scale):
    data = inputs(5, 9)
    temperature = torch.tensor([0.5, 1, 2, 4, 7.3], dtype=torch.float64)
    expected = rows_of(data, temperature) / (1 if scale else temperature**2)
    losses = kd_kl(data.student, data.teacher, temperature, scale=scale, reduction="none")
    torch.testing.assert_close(losses, expected)
    gradients = [kd_kl_and_grad(data.student, data.teacher, t, scale=scale)[1] for t in temperature.tolist()]
    _, gradient = kd_kl_and_grad(data.student, data.teacher, temperature, scale=scale)
    torch.testing.assert_close(gradient, torch.stack([g[row] for row, g in enumerate(gradients)]))


def test_a_temperature_without_dimensions_serves_all_rows(backend):
    data = inputs(5, 9)
    loss = kd_kl(data.student, data.teacher, torch.tensor(2.0))
    torch.testing.assert_close(loss, kd_kl(data.student, data.teacher, 2.0))


@pytest.mark.parametrize("shape", [(), (4,)], ids=["one", "per-row"])
def test_a_temperature_that_is_learned_gets_its_gradient(backend, shape):
    data = inputs(4, 6)
    masked = data.student.masked_fill(torch.eye(4, 6, dtype=torch.bool), -torch.inf)
    teacher = data.teacher.masked_fill(torch.eye(4, 6, dtype=torch.bool), -torch.inf)
    temperature = torch.full(shape, 2.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: kd_kl(data.student, data.teacher, t), temperature)
    assert torch.autograd.gradcheck(lambda t: kd_kl(masked, teacher, t), temperature)
    assert torch.autograd.gradgradcheck(lambda t: kd_kl(data.student, data.teacher, t), temperature)


@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
def test_masked_rows_are_neither_read_nor_counted(backend, reduction):
    data = inputs(6, 11)
    mask = torch.tensor([True, False, True, True, False, True])
    student, teacher = data.student.clone(), data.teacher.clone()
    student[~mask], teacher[~mask] = torch.nan, torch.inf
    student.requires_grad_()
    loss = kd_kl(student, teacher, 2.0, mask=mask, reduction=reduction)
    kept = kd_kl(data.student[mask], data.teacher[mask], 2.0, reduction=reduction)
    torch.testing.assert_close(loss, kept)
    loss.backward()
    assert (student.grad[~mask] == 0).all()
    expected = kd_kl_and_grad(data.student[mask], data.teacher[mask], 2.0, reduction=reduction)[1]
    torch.testing.assert_close(student.grad[mask], expected)
    again = torch.autograd.grad(
        kd_kl(student, teacher, 2.0, mask=mask, reduction=reduction), student, create_graph=True
    )
    (second,) = torch.autograd.grad(again[0].square().sum(), student)
    assert (second[~mask] == 0).all()
    assert second.isfinite().all()


def test_no_counted_row_means_no_loss(backend):
    data = inputs(3, 5)
    student = data.student.requires_grad_()
    loss = kd_kl(student, data.teacher, mask=torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (student.grad == 0).all()


def test_row_weights_multiply_and_do_not_divide(backend):
    data = inputs(4, 7)
    weight = torch.tensor([0.0, 1.0, 2.5, 0.5])
    loss = kd_kl(data.student, data.teacher, 2.0, row_weight=weight)
    assert loss.item() == pytest.approx((rows_of(data, 2.0) * weight).sum().item() / 4, rel=1e-12)


def test_row_weights_that_are_learned_get_their_rows_losses_also_at_zero(backend):
    data = inputs(4, 7)
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    kd_kl(data.student, data.teacher, 2.0, row_weight=weight).backward()
    torch.testing.assert_close(weight.grad, rows_of(data, 2.0) / 4)


@pytest.mark.parametrize("teacher_is", ["log_probs", "probs"])
def test_given_probabilities_are_used_as_they_are(backend, teacher_is):
    data = inputs(4, 7)
    p = torch.softmax(data.teacher, -1) * 0.5  # they need not sum to 1
    p[:, 2] = 0
    given = p.log() if teacher_is == "log_probs" else p
    expected = [
        references.kl_of_probabilities(s.numpy(), row.numpy(), 2.0) for s, row in zip(data.student, p, strict=True)
    ]
    loss, gradient = kd_kl_and_grad(data.student, given, 2.0, teacher_is=teacher_is)
    assert loss.item() == pytest.approx(sum(expected) / 4, rel=1e-12)
    q = torch.softmax(data.student / 2, -1)
    torch.testing.assert_close(gradient, (q * p.sum(-1, keepdim=True) - p) * 2 / 4)


def test_a_class_that_the_student_alone_rules_out_costs_infinitely_with_a_finite_gradient(backend):
    data = inputs(3, 5)
    data.student[1, 2] = -torch.inf
    loss, gradient = kd_kl_and_grad(data.student, data.teacher, reduction="none")
    assert loss[1] == torch.inf
    assert loss[[0, 2]].isfinite().all()
    assert gradient.isfinite().all()


def test_constant_rows_standardize_to_a_uniform_distribution(backend):
    data = inputs(3, 5)
    teacher = torch.full((3, 5), 1.7, dtype=torch.float64)
    loss = kd_kl(data.student, teacher, 2.0, standardize=True)
    uniform = torch.full((3, 5), 0.2, dtype=torch.float64)
    z = torch.stack([torch.from_numpy(references.z_scored(row.numpy())) for row in data.student])
    torch.testing.assert_close(loss, kd_kl(z, uniform, 2.0, teacher_is="probs"))
    student = teacher.clone().requires_grad_()
    kd_kl(student, data.teacher, 2.0, standardize=True).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_in_place_the_gradient_takes_the_memory_of_the_logits(backend, dtype):
    data = inputs(5, 9, dtype=dtype)
    weight = torch.ones(9, requires_grad=True, dtype=dtype)
    expected = torch.autograd.grad(kd_kl(data.student * weight, data.teacher, 2.0), weight)[0]
    logits = data.student * weight
    kept = logits.detach()
    loss = kd_kl(logits, data.teacher, 2.0, in_place_grad=True)
    gradient = kd_kl_and_grad(data.student, data.teacher, 2.0)[1]
    torch.testing.assert_close(kept, gradient)
    torch.testing.assert_close(torch.autograd.grad(loss, weight)[0], expected)
    fresh = data.student.clone()
    twin = kd_kl_and_grad(fresh, data.teacher, 2.0, in_place_grad=True)[1]
    assert twin.data_ptr() == fresh.data_ptr()
    torch.testing.assert_close(twin, gradient)


def test_in_place_autograd_notices_logits_that_are_needed_later(backend):
    data = inputs(5, 9, dtype=torch.float32)
    logits = data.student.requires_grad_().exp()  # keeps its result for the backward
    loss = kd_kl(logits, data.teacher, 2.0, in_place_grad=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_in_place_serves_one_backward_and_says_so(backend):
    data = inputs(5, 9, dtype=torch.float32)
    logits = data.student.requires_grad_() * 1
    loss = kd_kl(logits, data.teacher, 2.0, in_place_grad=True)
    loss.backward(retain_graph=True)
    with pytest.raises(InvalidParameter, match="logits are gone"):
        loss.backward()


@pytest.mark.parametrize("view", [lambda leaf: leaf, lambda leaf: leaf.reshape(9, 5).t()], ids=["leaf", "view"])
def test_in_place_refuses_a_leaf(view):
    leaf = torch.zeros(5, 9, requires_grad=True)
    with pytest.raises(InvalidParameter, match="leaf"):
        kd_kl(view(leaf), torch.zeros_like(view(leaf)), in_place_grad=True)


def test_a_teacher_changed_before_a_second_derivative_is_noticed(backend):
    data = inputs(3, 5)
    student = data.student.requires_grad_()
    loss = kd_kl(student, data.teacher, 2.0)
    data.teacher.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, student, create_graph=True)
