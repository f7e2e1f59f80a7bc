"""Sizes, operations, speed and memory of models."""

import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.ao.nn import quantized as quantised

from kdbench.engine.cost import flops, measure_throughput, nonzero_parameters, parameters, stored_bytes


class Watched(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.batches, self.modes, self.grads = nn.Linear(3, 2), [], set(), set()

    def forward(self, x):
        self.batches.append(len(x))
        self.modes.add(self.training)
        self.grads.add(torch.is_grad_enabled())
        return self.layer(x)


def test_a_shared_layer_counts_once():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.BatchNorm1d(4), layer)
    assert parameters(model) == 4 * 4 + 4 + 2 * 4
    batch_norm_buffers = 4 * 4 + 4 * 4 + 8  # running mean and variance in float32, a 64-bit count
    assert stored_bytes(model) == 4 * (16 + 4 + 8) + batch_norm_buffers


def test_half_precision_is_stored_in_half_the_bytes():
    assert 2 * stored_bytes(nn.Linear(8, 8).half()) == stored_bytes(nn.Linear(8, 8))


def test_flops_are_two_for_each_multiply_add():
    assert flops(nn.Linear(30, 7, bias=False), torch.zeros(1, 30)) == 2 * 30 * 7
    convolution = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    assert flops(convolution, torch.zeros(1, 3, 8, 6)) == 2 * 3 * 5 * 9 * 8 * 6


class Quantised(nn.Module):
    """A convolution and a linear layer in int8, as torch packs them: 4 and 5 outputs, with biases."""

    def __init__(self):
        super().__init__()
        weight = torch.linspace(-1, 1, 4 * 3 * 2 * 2).reshape(4, 3, 2, 2)
        weight[0] = 0
        self.convolution = quantised.Conv2d(3, 4, 2)
        per_channel = torch.quantize_per_channel(
            weight, torch.full((4,), 0.01), torch.zeros(4, dtype=torch.int64), 0, torch.qint8
        )
        self.convolution.set_weight_bias(per_channel, torch.ones(4))
        self.linear = quantised.Linear(4 * 2 * 2, 5)
        self.linear.set_weight_bias(torch.quantize_per_tensor(torch.ones(5, 16), 0.01, 0, torch.qint8), torch.zeros(5))

    def forward(self, x):
        x = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        return self.linear(self.convolution(x).flatten(1)).dequantize()


def test_packed_integer_weights_are_counted_like_any():
    model = Quantised()
    assert parameters(model) == (4 * 3 * 2 * 2 + 4) + (5 * 16 + 5)
    assert nonzero_parameters(model) == (3 * 3 * 2 * 2 + 4) + 5 * 16
    assert flops(model, torch.zeros(1, 3, 3, 3)) == 2 * (4 * 2 * 2) * (3 * 2 * 2) + 2 * 5 * 16
    assert not any(module._forward_hooks for module in model.modules())


def test_an_integer_weight_is_stored_in_a_byte_beside_its_scales():
    scales = 4 * (8 + 8) + (8 + 8)  # a double and a 64-bit zero point: of each channel, and of the tensor
    assert stored_bytes(Quantised()) == 4 * 3 * 2 * 2 + 5 * 16 + scales + 4 * (4 + 5)


def test_parameters_that_are_exactly_zero_are_told_apart():
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.constant_(layer.bias, -1.0)
    layer.weight.data[0] = 0.0
    layer.weight.data[1, 0] = -0.0
    assert (parameters(layer), nonzero_parameters(layer)) == (8, 4)


def test_flops_leave_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flops(model, torch.randn(1, 1, 8, 8))
    assert model.training
    assert not model[1].training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_throughput_runs_each_batch_size_in_evaluation_mode_without_gradients():
    model, ticks = Watched(), itertools.count()
    speed = measure_throughput(model, torch.randn(5, 3), batch_sizes=(1, 8), clock=lambda: float(next(ticks)))
    assert set(speed.inference_samples_per_s) == {"1", "8"}
    assert set(model.batches) == {1, 8}
    assert model.modes == {False}
    assert model.grads == {False}
    assert model.training


def test_rates_come_from_the_median_call_and_warm_up_is_not_timed():
    """The clock counts one second a reading, but for the first timed call, which seems to take a hundred."""
    readings = itertools.chain([0.0, 100.0], (100.0 + i for i in itertools.count(1)))
    model = Watched()
    speed = measure_throughput(model, torch.randn(4, 3), batch_sizes=(4,), clock=lambda: next(readings))
    assert speed.inference_samples_per_s["4"] == pytest.approx(4.0)
    assert len(model.batches) > 5
    assert speed.latency_ms_p50 is None


def test_latency_is_of_batch_one_in_milliseconds():
    ticks = itertools.count(step=0.002)
    speed = measure_throughput(Watched(), torch.randn(4, 3), batch_sizes=(1,), budget_s=0, clock=lambda: next(ticks))
    assert speed.latency_ms_p50 == pytest.approx(2.0)
    assert speed.latency_ms_p95 == pytest.approx(2.0)
    assert speed.inference_samples_per_s["1"] == pytest.approx(500.0)


PEAKS = """
import torch
from kdbench.engine.cost import PeakMemory

peaks = []
for size in (1, 60_000_000, 1):
    with PeakMemory(torch.device("cpu")) as memory:
        torch.ones(size).sum()
    peaks.append(memory.peak_bytes)
print(*peaks)
"""


def test_peak_memory_sees_an_allocation_that_is_gone_at_the_end_and_begins_anew():
    # In a process of its own: one that has freed much before serves the allocation from what it kept.
    printed = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True).stdout.split()
    if "None" in printed:
        pytest.skip("this system does not let a process reset its high-water mark")
    before, large, after = map(int, printed)
    assert large - before > 200_000_000
    assert after < large - 100_000_000
