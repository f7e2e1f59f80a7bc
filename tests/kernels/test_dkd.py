from __future__ import annotations

import float64_references as references
import pytest
import torch
from loss_table import inputs

from kdbench.kernels import kd_dkd, kd_dkd_and_grad, kd_kl


def test_weighted_by_one_and_the_teachers_uncertainty_its_terms_make_up_kl(backend):
    # Zhao et al. (2022), eq. 5: KD = TCKD + (1 − p_target) NCKD, for one row.
    data = inputs(1, 9)
    out = kd_dkd(data.student, data.teacher, data.labels, 3.0)
    uncertainty = 1 - torch.softmax(data.teacher / 3, -1)[0, data.labels[0]]
    torch.testing.assert_close(out.target + uncertainty * out.non_target, kd_kl(data.student, data.teacher, 3.0))


def test_its_terms_are_unweighted_and_carry_no_gradient(backend):
    data = inputs(4, 9)
    out = kd_dkd(data.student.requires_grad_(), data.teacher, data.labels, 3.0, 0.5, 3.0)
    torch.testing.assert_close(out.loss.detach(), 0.5 * out.target + 3 * out.non_target)
    assert not out.target.requires_grad
    assert not out.non_target.requires_grad


@pytest.mark.parametrize("lead", [30.0, 200.0, 5000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_dominant_target_leaves_the_other_classes_exact(backend, lead, dtype):
    data = inputs(6, 9, dtype=dtype)
    for logits in (data.student, data.teacher):
        logits[torch.arange(6), data.labels] += lead
    out, gradient = kd_dkd_and_grad(data.student, data.teacher, data.labels, 1.0)
    rows = zip(data.student.double().numpy(), data.teacher.double().numpy(), data.labels.tolist(), strict=True)
    expected = [references.dkd(s, t, label, 1.0) for s, t, label in rows]
    assert out.non_target.item() == pytest.approx(sum(n for _, n in expected) / 6, rel=1e-6)
    assert out.target.item() == pytest.approx(sum(t for t, _ in expected) / 6, rel=1e-5, abs=1e-30)
    exact = kd_dkd_and_grad(data.student.double(), data.teacher.double(), data.labels, 1.0)[1]
    torch.testing.assert_close(gradient.double(), exact, rtol=4e-3 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


def test_a_label_that_is_the_only_class_left_has_no_loss(backend):
    data = inputs(2, 5)
    data.student[0, 1:] = data.teacher[0, 1:] = -torch.inf
    labels = torch.zeros(2, dtype=torch.int64)
    out, gradient = kd_dkd_and_grad(data.student, data.teacher, labels, 2.0)
    assert out.loss.isfinite()
    assert (gradient[0] == 0).all()
    alone = kd_dkd(data.student[1:], data.teacher[1:], labels[1:], 2.0)
    torch.testing.assert_close(out.loss, alone.loss / 2)


def test_a_label_that_is_masked_itself_leaves_the_non_target_term(backend):
    data = inputs(2, 5)
    data.student[:, 0] = data.teacher[:, 0] = -torch.inf
    out, gradient = kd_dkd_and_grad(data.student, data.teacher, torch.zeros(2, dtype=torch.int64), 2.0)
    assert out.target.item() == 0
    torch.testing.assert_close(out.non_target, kd_kl(data.student[:, 1:], data.teacher[:, 1:], 2.0))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("ignored", [-100, 6])
def test_ignored_rows_do_not_count(backend, ignored):
    data = inputs(4, 7)
    labels = torch.tensor([1, 5, ignored, 0])
    data.student[2] = torch.nan
    out, gradient = kd_dkd_and_grad(data.student, data.teacher, labels, 2.0, ignore_index=ignored)
    kept = [0, 1, 3]
    expected, expected_gradient = kd_dkd_and_grad(data.student[kept], data.teacher[kept], labels[kept], 2.0)
    torch.testing.assert_close(out.loss, expected.loss)
    torch.testing.assert_close(gradient[kept], expected_gradient)
    assert (gradient[2] == 0).all()


def test_every_row_may_have_its_temperature(backend):
    data = inputs(3, 6)
    temperature = torch.tensor([1.0, 2.0, 5.0])
    out = kd_dkd(data.student, data.teacher, data.labels, temperature)
    rows = [
        kd_dkd(data.student[i : i + 1], data.teacher[i : i + 1], data.labels[i : i + 1], t.item()).loss
        for i, t in enumerate(temperature)
    ]
    torch.testing.assert_close(out.loss, sum(rows) / 3)
