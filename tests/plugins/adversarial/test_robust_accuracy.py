"""Robust accuracy: where it is known in closed form, and what it promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import kdbench
from kdbench_adversarial import robustness
from kdbench_adversarial.robustness import robust_accuracy


def linear(inputs: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(inputs, 2).double()


def items(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, generator=stream, dtype=torch.float64), torch.arange(count) % 2


@pytest.mark.parametrize("eps", [0.05, 0.3, 2.0])
def test_of_a_linear_model_of_two_classes_it_is_the_share_beyond_eps_of_the_boundary(eps, monkeypatch):
    """The worst change within ±eps lowers the margin wᵀx + b by eps·‖w‖₁."""
    monkeypatch.setattr(robustness, "BATCH", 7)
    model, (inputs, labels) = linear(), items(40)
    weight, offset = (model.weight[1] - model.weight[0]).tolist(), float((model.bias[1] - model.bias[0]).detach())
    held = 0
    for item, label in zip(inputs.tolist(), labels.tolist(), strict=True):
        margin = sum(w * x for w, x in zip(weight, item, strict=True)) + offset
        held += (margin if label else -margin) > eps * sum(abs(w) for w in weight)
    assert robust_accuracy(f"{eps}")(model, inputs, labels) == held / 40


def test_it_falls_with_eps_and_is_never_above_accuracy():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    inputs, _ = items(60)
    labels = model(inputs + 0.2 * torch.randn_like(inputs)).argmax(1)
    accuracy = float((model(inputs).argmax(1) == labels).double().mean())
    found = [robust_accuracy(f"{eps}")(model, inputs, labels) for eps in (1e-6, 0.05, 0.2, 0.5, 2)]
    assert found[0] == accuracy
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 * found[0]


def test_a_model_that_is_too_sure_for_cross_entropy_to_have_a_slope_is_attacked_all_the_same():
    model, (inputs, _) = linear().float(), items(40)
    inputs = inputs.float()
    labels = model(inputs).argmax(1)
    before = robust_accuracy("0.3")(model, inputs, labels)
    with torch.no_grad():
        model.weight.mul_(1e5)
        model.bias.mul_(1e5)
    assert robust_accuracy("0.3")(model, inputs, labels) == before < 1


def test_it_leaves_the_model_and_the_items_as_they_were():
    model, (inputs, labels) = linear(), items(10)
    state, copy = {name: value.clone() for name, value in model.state_dict().items()}, inputs.clone()
    robust_accuracy()(model, inputs, labels)
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())
    assert inputs.equal(copy)
    assert not inputs.requires_grad


@pytest.mark.parametrize("text", ["", "0", "-0.1", "much", "nan", "inf"])
def test_a_text_that_is_no_number_above_zero_is_refused(text):
    with pytest.raises(kdbench.InvalidParameter, match=f"metric 'robust_accuracy:{text}'"):
        robust_accuracy(text)
