import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR

from kdbench.engine.optim import bare_parameters, lr_factor, make_optimizer
from kdbench.recipe import Recipe

STEPS, PER_EPOCH, LR = 40, 4, 0.5


def torch_rates(make_scheduler):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], LR)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def our_rates(**recipe):
    return [LR * lr_factor(Recipe(lr=LR, **recipe), step, STEPS, PER_EPOCH) for step in range(STEPS)]


def test_cosine_is_torchs():
    expected = torch_rates(lambda optimizer: CosineAnnealingLR(optimizer, STEPS))
    assert our_rates(schedule="cosine") == pytest.approx(expected, abs=1e-12)


def test_step_is_torchs_at_the_same_milestones():
    expected = torch_rates(lambda optimizer: MultiStepLR(optimizer, [20, 30], gamma=0.1))
    assert our_rates(schedule="step", milestones=(0.5, 0.75), gamma=0.1) == pytest.approx(expected)


def test_onecycle_starts_peaks_and_ends_where_torchs_does():
    expected = torch_rates(
        lambda optimizer: OneCycleLR(optimizer, LR, STEPS + 1, pct_start=12 / 40, cycle_momentum=False)
    )
    ours = our_rates(schedule="onecycle")
    assert ours[0] == pytest.approx(expected[0])
    assert max(ours) == pytest.approx(LR)
    assert ours.index(max(ours)) == 12
    assert ours[-1] < 0.02 * LR


def test_constant_stays():
    assert set(our_rates(schedule="constant")) == {LR}


def test_warmup_rises_evenly_before_the_schedule_begins():
    rates = our_rates(schedule="cosine", warmup_epochs=2)
    assert rates[:8] == pytest.approx([LR * (step + 1) / 9 for step in range(8)])
    assert rates[8] == pytest.approx(LR)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_optimisers_take_the_recipes_settings_and_leave_frozen_parameters_out(name):
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    optimizer = make_optimizer(model.parameters(), Recipe(optimizer=name, lr=0.25, weight_decay=0.125))
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["params"]) == (0.25, 0.125, [model.weight])
    assert type(optimizer).__name__.lower() == name


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_parameter_may_get_its_first_gradient_later_than_the_others(optimizer):
    """As the module of a method that begins half way through the training."""
    first, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    made = make_optimizer([first, late], Recipe(optimizer=optimizer, weight_decay=0, lr=0.1))
    first.grad = torch.ones(2)
    made.step()
    assert late.equal(torch.ones(2)), "without a gradient it stays"
    late.grad = torch.ones(2)
    made.step()
    torch.testing.assert_close(late, torch.full((2,), 0.9))


class Learnt(nn.Module):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), Wider(2, 3))
        self.listed = nn.ParameterList([torch.ones(2, 2)])
        self.named = nn.ParameterDict({"a": torch.ones(3, 1, 1)})


class Wider(nn.Linear):
    pass


def test_bare_parameters_are_those_of_no_layer():
    module = Learnt()
    bare = {id(parameter) for parameter in bare_parameters(module)}
    names = {name for name, parameter in module.named_parameters() if id(parameter) in bare}
    assert names == {"temperature", "listed.0", "named.a"}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_undecayed_parameters_keep_their_value_without_a_gradient(optimizer):
    decayed, left, frozen = (nn.Parameter(torch.ones(2), requires_grad=grad) for grad in (True, True, False))
    recipe = Recipe(optimizer=optimizer, weight_decay=0.1)
    made = make_optimizer([decayed, left, frozen], recipe, undecayed=[left, frozen])
    for parameter in (decayed, left):
        parameter.grad = torch.zeros(2)
    made.step()
    assert (decayed < 1).all()
    assert left.equal(torch.ones(2))
    assert len(make_optimizer([decayed], Recipe(), undecayed=[left]).param_groups) == 1
