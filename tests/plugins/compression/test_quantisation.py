"""int8: what is stored, what is computed, what it is calibrated on, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from compression_pairs import answers, made_up_pair
from torch import nn
from torch.ao.nn import quantized as torch_quantised

import kdbench
from kdbench.engine.cost import flops, nonzero_parameters, parameters, stored_bytes
from kdbench.engine.evaluate import evaluate
from kdbench_compression.combined import DistilThenQuantise
from kdbench_compression.integers import QuantAware, QuantDynamic, QuantStatic
from kdbench_compression.quantised import Simulated, static

pytestmark = pytest.mark.skipif(
    torch.backends.quantized.engine in ("none", None), reason="torch has no int8 kernels on this machine"
)


def finished(data, method, **options):
    trainer = data.distil(method, **options).trainer
    return trainer, method.finish(trainer)


def layers(model: nn.Module, kind: type) -> list:
    return [module for module in model.modules() if isinstance(module, kind)]


def test_each_channel_of_a_weight_is_rounded_to_its_own_scale():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 4), nn.Linear(4, 3))
    made = static(model, torch.randn(50, 7))
    (first, _) = layers(made, torch_quantised.Linear)
    weight = first.weight()
    for channel in range(4):
        scale = max(abs(value) for value in model[0].weight[channel].tolist()) / 127.5
        assert float(weight.q_per_channel_scales()[channel]) == pytest.approx(scale, rel=1e-6)
        for value, stored in zip(model[0].weight[channel].tolist(), weight.int_repr()[channel].tolist(), strict=True):
            assert abs(stored - value / scale) <= 0.5 + 1e-4
            assert -128 <= stored <= 127


@pytest.mark.parametrize("method", [QuantStatic(), DistilThenQuantise(), QuantAware()])
def test_convolutions_and_linear_layers_compute_in_integers_and_are_a_quarter_of_the_size(data, method):
    trainer, made = finished(data, method, epochs=1)
    assert len(layers(made, torch_quantised.Conv2d)) == 3
    assert len(layers(made, torch_quantised.Linear)) == 1
    assert not layers(made, (nn.BatchNorm2d, nn.Conv2d, nn.Linear)), "nothing is left in floating point"
    float_model = data.teacher
    folded = 2 * (8 + 16 + 32)  # batch norm goes into the convolutions, which get a bias in its place
    assert parameters(made) == parameters(float_model) - folded + (8 + 16 + 32)
    assert 0.95 * parameters(made) < nonzero_parameters(made) <= parameters(made)
    assert stored_bytes(made) < 0.35 * stored_bytes(float_model)
    assert flops(made, data.validation.student[:1]) == flops(float_model, data.validation.student[:1])
    exact, rounded = (evaluate(model, data.validation, trainer.fabric) for model in (trainer.student, made))
    assert abs(exact["accuracy"] - rounded["accuracy"]) < 0.03
    assert abs(exact["loss"] - rounded["loss"]) < 0.1


def test_dynamic_quantisation_is_of_the_linear_layers_alone(data):
    for method in (QuantDynamic(), DistilThenQuantise(scheme="dynamic")):
        trainer, made = finished(data, method, epochs=1)
        (linear,) = layers(made, torch_quantised.Linear)
        assert linear.weight().dtype == torch.qint8
        assert made.stage1[0][0].weight.equal(trainer.student.stage1[0][0].weight)
        torch.testing.assert_close(
            answers(made, data.validation.student),
            answers(trainer.student, data.validation.student),
            atol=0.2,
            rtol=0.1,
        )
        assert parameters(made) == parameters(trainer.student)
        assert stored_bytes(made) == stored_bytes(trainer.student) - 3 * 32 * 10 + 16  # one scale for the tensor


def test_post_training_quantisation_trains_nothing_and_calibrates_on_training_items_by_the_seed(data):
    results = [finished(data, QuantStatic(calibration=64), seed=seed) for seed in (1, 1, 2)]
    for trainer, _ in results:
        assert trainer.history == []
        assert trainer.samples_per_second is None
        for name, value in trainer.student.state_dict().items():
            assert value.equal(data.teacher.state_dict()[name])
    first, again, other = (answers(made, data.validation.student) for _, made in results)
    assert first.equal(again)
    assert not first.equal(other)


def test_the_ranges_of_rounded_training_do_not_follow_evaluation(data):
    model = Simulated(copy.deepcopy(data.teacher).requires_grad_(True), data.train.student[:2])
    model.train()(data.train.student[:64])
    before = copy.deepcopy(model.state_dict())
    answers(model, 100 * data.validation.student)
    for name, value in model.state_dict().items():
        if "enabled" not in name:
            assert value.equal(before[name]), f"{name} moved in evaluation"
    model.train()(100 * data.train.student[:64])
    assert any(not value.equal(before[name]) for name, value in model.state_dict().items() if "max_val" in name)


def test_rounded_training_answers_as_the_integers_will(data):
    trainer, made = finished(data, QuantAware(lr_factor=0.5))
    assert trainer.history[1]["loss"] < trainer.history[0]["loss"]
    simulated, real = (answers(model, data.validation.student) for model in (trainer.student, made))
    assert (simulated - real).abs().mean() < 0.01 * (simulated.max() - simulated.min())
    assert (simulated.argmax(1) == real.argmax(1)).float().mean() > 0.97


def test_an_int8_model_is_copied_and_reloaded_whole(data):
    _, made = finished(data, QuantStatic())
    copied = copy.deepcopy(made)
    state = copy.deepcopy(made.state_dict())
    other = finished(data, QuantStatic(calibration=2), seed=9)[1]
    expected = answers(made, data.validation.student)
    assert not answers(other, data.validation.student).equal(expected)
    other.load_state_dict(state)
    for model in (copied, other):
        assert answers(model, data.validation.student).equal(expected)


def test_an_int8_model_leaves_torchs_determinism_as_it_was(data):
    _, made = finished(data, QuantStatic())
    expected = answers(made, data.validation.student)
    for mode in ("default", "warn", "error"):
        torch.set_deterministic_debug_mode(mode)
        before = torch.get_deterministic_debug_mode()
        assert answers(made, data.validation.student).equal(expected)
        assert torch.get_deterministic_debug_mode() == before


class OnlyConvolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(1, 3, 8)

    def forward(self, x):
        return self.fc(x).flatten(1)


class Branches(nn.Module):
    """A model whose graph depends on its values: torch cannot trace it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        return self.fc(x.flatten(1)) if x.sum() > 0 else self.fc(-x.flatten(1))


@pytest.mark.parametrize(
    ("method", "model", "why"),
    [
        (QuantDynamic(), OnlyConvolutions(), "no linear layer"),
        (DistilThenQuantise(scheme="dynamic"), OnlyConvolutions(), "no linear layer"),
        (QuantStatic(), Branches(), "torch cannot quantise it: TraceError"),
        (QuantAware(), Branches(), "torch cannot quantise it: TraceError"),
        (DistilThenQuantise(), Branches(), "torch cannot quantise it: TraceError"),
    ],
)
def test_models_that_cannot_be_quantised_are_refused_by_name(method, model, why):
    with pytest.raises(kdbench.MethodRefused, match=rf"'{method.name}' cannot quantise this model\n.*{why}"):
        method.check(made_up_pair(model, (1, 8, 8)))


def test_a_model_that_branches_can_still_be_quantised_dynamically():
    QuantDynamic().check(made_up_pair(Branches(), (1, 8, 8)))


def test_a_machine_without_integer_kernels_and_a_gpu_are_refused(data, monkeypatch):
    pair = data.pair(QuantStatic())
    with monkeypatch.context() as changed:
        changed.setattr(torch.backends.quantized.__class__, "engine", "none")
        with pytest.raises(kdbench.MethodRefused, match="no int8 kernels on this machine"):
            QuantStatic().check(pair)
    elsewhere = made_up_pair(nn.Linear(3, 3, device="meta"), (3,))
    with pytest.raises(kdbench.MethodRefused, match=r"for the CPU; the model is on meta\n.*--device cpu"):
        QuantStatic().check(elsewhere)


def test_an_average_over_time_is_refused_in_rounded_training(data):
    pair = data.pair(QuantAware(), ema=0.9)
    with pytest.raises(kdbench.MethodRefused, match=r"'qat' .*\n.*recipe\.ema=0\.9"):
        QuantAware().check(pair)


@pytest.mark.parametrize("method", [QuantStatic(), QuantDynamic(), QuantAware(), DistilThenQuantise()])
def test_mixed_precision_is_refused_before_training(data, method):
    pair = data.pair(method, precision="bf16-mixed")
    with pytest.raises(kdbench.MethodRefused, match=rf"'{method.name}' .*\n.*precision is bf16-mixed"):
        method.check(pair)
