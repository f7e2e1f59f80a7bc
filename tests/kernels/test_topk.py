from __future__ import annotations

import float64_references as references
import pytest
import torch
from loss_table import inputs

from kdbench.errors import InvalidParameter
from kdbench.kernels import checked, kd_kl, kd_topk, kd_topk_and_grad


@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_with_every_class_listed_it_is_kl(backend, tail):
    data = inputs(4, 7)
    log_probs = torch.log_softmax(data.teacher / 2, -1)
    values, indices = log_probs.sort(-1, descending=True)
    loss, gradient = kd_topk_and_grad(data.student, values, indices, 2.0, values_are="log_probs", tail=tail)
    torch.testing.assert_close(loss, kd_kl(data.student, data.teacher, 2.0))
    expected = kd_kl(data.student, log_probs, 2.0, teacher_is="log_probs")
    torch.testing.assert_close(loss, expected)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_bucket_of_no_class_never_costs_infinitely_by_rounding(backend, dtype):
    data = inputs(50, 7, dtype=dtype)
    values, indices = torch.softmax(data.teacher, -1).sort(-1, descending=True)
    values = values * (1 - 1e-6)
    loss = kd_topk(data.student, values, indices, values_are="probs", tail="bucket")
    assert loss.isfinite()


@pytest.mark.parametrize("values_are", ["logits", "log_probs", "probs"])
@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_empty_places_are_not_read(backend, values_are, tail):
    if (values_are, tail) == ("logits", "bucket"):
        pytest.skip("logits do not tell the tail")
    data = inputs(4, 9)
    known = data.teacher if values_are == "logits" else torch.log_softmax(data.teacher / 2, -1)
    values, indices = known.topk(4, -1)
    values = values.exp() if values_are == "probs" else values
    indices[1, 2:] = -1
    indices[2] = -1
    values[indices == -1] = torch.nan
    student = data.student.requires_grad_()
    losses = kd_topk(student, values, indices, 2.0, values_are=values_are, tail=tail, reduction="none")
    expected = [
        references.topk(s, v, i, 2.0, values_are, tail)
        for s, v, i in zip(student.detach().numpy(), values.numpy(), indices.numpy(), strict=True)
    ]
    torch.testing.assert_close(losses.detach(), torch.tensor(expected, dtype=torch.float64))
    assert losses[2] == 0
    (gradient,) = torch.autograd.grad(losses.sum(), student)
    assert gradient.isfinite().all()
    assert (gradient[2] == 0).all()


@pytest.mark.parametrize("values_are", ["log_probs", "probs"])
@pytest.mark.parametrize("tail", ["renormalize", "bucket"])
def test_derivatives_hold_with_empty_places(backend, values_are, tail):
    data = inputs(3, 6)
    values, indices = torch.log_softmax(data.teacher / 2, -1).topk(3, -1)
    values = values.exp() if values_are == "probs" else values
    indices[1, 1] = -1
    student = data.student.requires_grad_()

    def loss(s):
        return kd_topk(s, values, indices, 2.0, values_are=values_are, tail=tail)

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


def test_an_index_out_of_range_spoils_its_row_and_is_named_in_check_mode(backend):
    data = inputs(3, 6)
    values, indices = data.teacher.topk(2, -1)
    indices[1, 0] = 6
    losses = kd_topk(data.student, values, indices, reduction="none")
    assert losses.isnan().tolist() == [False, True, False]
    with checked(), pytest.raises(InvalidParameter, match=r"teacher_indices holds class 6.*0 to 5"):
        kd_topk(data.student, values, indices)


def test_masked_rows_do_not_count(backend):
    data = inputs(3, 6)
    values, indices = data.teacher.topk(2, -1)
    mask = torch.tensor([True, False, True])
    data.student[1] = torch.nan
    loss, gradient = kd_topk_and_grad(data.student, values, indices, 2.0, mask=mask)
    torch.testing.assert_close(loss, kd_topk(data.student[mask], values[mask], indices[mask], 2.0))
    assert (gradient[1] == 0).all()
