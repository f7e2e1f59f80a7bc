"""Pruning by magnitude: which weights go, when, and that they stay away."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from compression_pairs import made_up_pair, weights, zeros
from torch import nn

import kdbench
from kdbench.engine.teachers import train_supervised
from kdbench.method import ModelInfo
from kdbench_compression.combined import PruneThenDistil
from kdbench_compression.magnitude import PruneMagnitude
from kdbench_compression.masks import Masks


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 4)
    ).double()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.77, 1.0])
def test_the_smallest_weights_over_all_layers_are_zero(share):
    model = network()
    named = [(n, p) for n, p in model.named_parameters() if p.ndim > 1]
    listed = [(abs(v), n, place) for n, p in named for place, v in enumerate(p.flatten().tolist())]
    gone = {(name, place) for _, name, place in sorted(listed)[: round(share * len(listed))]}
    biases = {n: p.clone() for n, p in model.named_parameters() if p.ndim == 1}
    Masks(model).prune(share, torch.optim.SGD(model.parameters(), 0.1))
    for name, parameter in named:
        for place, value in enumerate(parameter.flatten().tolist()):
            assert (value == 0) == ((name, place) in gone)
    for name, bias in biases.items():
        assert bias.equal(model.get_parameter(name))


def test_equal_weights_are_pruned_to_the_exact_share():
    model = nn.Linear(10, 10)
    nn.init.ones_(model.weight)
    Masks(model).prune(0.3, torch.optim.SGD(model.parameters(), 0.1))
    assert zeros(model) == 30


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, fused=True),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=1e-2),
        lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    ],
)
def test_a_pruned_weight_stays_zero_whatever_steps(make):
    model = network()
    optimizer = make(list(model.parameters()))
    masks = Masks(model)
    stream = torch.Generator().manual_seed(0)
    before = None
    for step in range(8):
        if step in (3, 5):  # there is momentum by then
            masks.prune(0.4 + step / 10, optimizer)
            before = [(p == 0).clone() for p in masks.weights]
        optimizer.zero_grad()
        model(torch.randn(4, 2, 4, 4, generator=stream, dtype=torch.float64)).tanh().sum().backward()
        optimizer.step()
        if before is not None:
            for weight, zero in zip(masks.weights, before, strict=True):
                assert (weight[zero] == 0).all()
                assert (weight[~zero] != 0).all()


@pytest.mark.parametrize(("sparsity", "prunings"), [(0.8, 10), (0.95, 1), (0.5, 7)])
def test_the_share_of_zeros_follows_zhu_and_gupta(sparsity, prunings):
    method = PruneMagnitude(sparsity=sparsity, prunings=prunings)
    for k in range(prunings + 1):
        left = Fraction(prunings - k, prunings) ** 3
        expected = Fraction(sparsity) + (0 - Fraction(sparsity)) * left  # their eq. 1: s_f + (s_i - s_f)(1 - ...)^3
        assert method.share(k) == pytest.approx(float(expected), abs=1e-12)


class Watched(PruneMagnitude):
    """Keeps the number of zeros after each step."""

    def step(self, trainer, batch):
        terms = super().step(trainer, batch)
        self.seen.append((batch.progress, zeros(trainer.student)))
        return terms


def test_zeros_grow_in_steps_over_the_ramp_and_then_stay(data):
    method = Watched(sparsity=0.9, prunings=4, ramp=0.5)
    method.seen = []
    trainer = data.distil(method).trainer
    total = weights(data.teacher)
    for progress, found in method.seen:
        k = min(4, 1 + int(progress / 0.5 * 4))
        assert found == round(0.9 * (1 - (1 - k / 4) ** 3) * total)
    assert len({found for _, found in method.seen}) == 4
    assert zeros(trainer.student) == round(0.9 * total)
    assert zeros(trainer.pair.teacher.module) == 0


def test_the_checkpoint_is_one_of_the_full_sparsity_however_well_an_earlier_one_does(data):
    for select in ("best", "last"):
        method = PruneMagnitude(sparsity=0.99, prunings=3, ramp=1.0, lr_factor=0.01)
        trainer = data.distil(method, epochs=3, select=select).trainer
        accuracies = [row["val_accuracy"] for row in trainer.history]
        assert max(accuracies) == accuracies[0] > accuracies[-1], "the case is one where pruning costs accuracy"
        assert trainer.selected_epoch == 2
        assert zeros(trainer.student) == round(0.99 * weights(data.teacher))


def test_a_training_too_short_for_all_prunings_ends_at_the_full_sparsity(data):
    trainer = data.distil(PruneMagnitude(sparsity=0.6, prunings=500, ramp=1.0), epochs=1).trainer
    assert zeros(trainer.student) == round(0.6 * weights(data.teacher))


def test_the_final_fine_tune_leaves_pruned_weights_at_zero(data):
    trainer = data.distil(PruneMagnitude(sparsity=0.7), epochs=1).trainer
    gone = [(m.weight == 0) for m in trainer.student.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    before = trainer.student.fc.weight.clone()
    pair = trainer.pair
    distilled = kdbench.Pair(pair.dataset, ModelInfo("x", trainer.student), None, 1, pair.steps_per_epoch)
    recipe = kdbench.Recipe(epochs=1, batch_size=64, ema=0.5)
    train_supervised("finetune", trainer.fabric, distilled, data.train, data.validation, recipe, 1, lambda *_: None)
    assert not trainer.student.fc.weight.equal(before)
    layers = [m for m in trainer.student.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer, zero in zip(layers, gone, strict=True):
        assert (layer.weight == 0).equal(zero)


def test_the_fine_tune_of_prune_then_distil_has_the_unpruned_teachers_soft_targets(data):
    trainer = data.distil(PruneThenDistil(sparsity=0.5)).trainer
    assert {"ce", "kd"} <= trainer.history[0].keys()
    assert zeros(trainer.student) == round(0.5 * weights(data.teacher))
    assert "kd" not in data.distil(PruneMagnitude(sparsity=0.5), epochs=1).trainer.history[0]


def test_an_average_over_time_is_refused_for_it_would_bring_pruned_weights_back(data):
    pair = data.pair(PruneMagnitude(), ema=0.9)
    with pytest.raises(kdbench.MethodRefused, match=r"'prune_magnitude'.*\n.*recipe\.ema=0\.9"):
        PruneMagnitude().check(pair)


def test_a_network_without_weights_to_prune_is_refused():
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(kdbench.MethodRefused, match="no convolution and no linear layer"):
        PruneMagnitude().check(made_up_pair(model, (3,)))
