from __future__ import annotations

import pytest
import torch
from loss_table import inputs
from scipy.spatial.distance import jensenshannon

from kdbench.kernels import kd_divergence, kd_kl


def test_js_is_the_squared_jensen_shannon_distance_of_scipy(backend):
    data = inputs(5, 9)
    losses = kd_divergence(data.student, data.teacher, 2.0, "js", reduction="none", scale=False)
    p, q = (torch.softmax(x / 2, -1).numpy() for x in (data.teacher, data.student))
    torch.testing.assert_close(losses, torch.from_numpy(jensenshannon(p, q, axis=-1) ** 2))


def test_forward_and_reverse_kl_are_each_other_with_sides_swapped(backend):
    data = inputs(5, 9)
    forward = kd_divergence(data.student, data.teacher, 2.0, "forward_kl")
    torch.testing.assert_close(forward, kd_kl(data.student, data.teacher, 2.0))
    torch.testing.assert_close(kd_divergence(data.teacher, data.student, 2.0, "reverse_kl"), forward)


def test_js_approaches_kl_at_the_ends_of_beta(backend):
    data = inputs(5, 9)
    near = kd_divergence(data.student, data.teacher, 2.0, "js", 1e-6) / 1e-6
    torch.testing.assert_close(near, kd_kl(data.student, data.teacher, 2.0), rtol=1e-3, atol=0)


def test_bounded_divergences_stay_within_their_bounds_for_disjoint_distributions(backend):
    student, teacher = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    values = {kind: kd_divergence(student, teacher, 1.0, kind).item() for kind in ("js", "tvd", "skew_kl")}
    ln2 = torch.tensor(2.0).log().item()
    assert values["js"] == pytest.approx(ln2)
    assert values["tvd"] == pytest.approx(1)
    assert values["skew_kl"] == pytest.approx(-torch.tensor(0.1).log().item())


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "js", "skew_kl", "skew_reverse_kl", "tvd"])
def test_masks_weights_and_row_temperatures_work_as_for_kl(backend, kind):
    data = inputs(5, 9)
    mask = torch.tensor([True, False, True, True, True])
    weight, temperature = torch.rand(5) + 0.5, torch.rand(5) + 1
    data.student[1] = torch.nan
    student = data.student.requires_grad_()
    loss = kd_divergence(student, data.teacher, temperature, kind, mask=mask, row_weight=weight)
    rows = kd_divergence(student[mask], data.teacher[mask], temperature[mask], kind, reduction="none")
    torch.testing.assert_close(loss, (rows * weight[mask]).sum() / 4)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", ["js", "skew_kl", "tvd"])
def test_a_class_that_one_side_rules_out_gives_finite_loss_and_gradient(backend, kind):
    data = inputs(3, 5)
    data.student[0, 1] = data.teacher[1, 2] = -torch.inf
    student = data.student.requires_grad_()
    loss = kd_divergence(student, data.teacher, 2.0, kind)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite()
    assert gradient.isfinite().all()
