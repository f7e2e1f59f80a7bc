"""What a model costs: its size, its operations, its speed, and the memory that training it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdbench.engine.disk_view import Inputs
from kdbench.records import Throughput

BATCH_SIZES = (1, 64, 256)
_LEAST_CALLS, _WARM_UP_CALLS = 5, 3
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def parameters(model: nn.Module) -> int:
    """Number of parameters, those that quantised layers keep packed included; a shared one counts once."""
    return sum(parameter.numel() for parameter in _all_parameters(model))


def nonzero_parameters(model: nn.Module) -> int:
    """Number of parameters that are not exactly 0."""
    with torch.no_grad():
        return sum(
            int((parameter.dequantize() if parameter.is_quantized else parameter).count_nonzero())
            for parameter in _all_parameters(model)
        )


def stored_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers; a tensor that is used twice counts once.

    A quantised weight takes the bytes of its integers, and those of its scales and zero points (a double and a 64-bit
    integer each, for the tensor or for each channel).
    """
    tensors = {tensor.data_ptr(): tensor for tensor in (*_all_parameters(model), *model.buffers()) if tensor.numel()}
    return sum(tensor.nbytes + _quantiser_bytes(tensor) for tensor in tensors.values())


def _all_parameters(model: nn.Module) -> list[Tensor]:
    """The parameters, and the weights and biases of torch's quantised layers, which are no `nn.Parameter`s."""
    found: list[Tensor] = list(model.parameters())
    for layer in _quantised_layers(model):
        found += [tensor for tensor in (layer.weight(), layer.bias()) if tensor is not None]
    return found


def _quantised_layers(model: nn.Module) -> list[Any]:
    """Layers whose weight is packed for an integer kernel: they give it, and their bias, through methods."""
    return [module for module in model.modules() if all(callable(getattr(module, n, None)) for n in ("weight", "bias"))]


def _quantiser_bytes(tensor: Tensor) -> int:
    if not tensor.is_quantized:
        return 0
    per_channel = tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)
    return 16 * (len(tensor.q_per_channel_scales()) if per_channel else 1)


def flops(model: nn.Module, example: Tensor) -> int:
    """Forward operations for `example`, shape (1, ...): two for each multiply-add.

    Counted are matrix products, convolutions and attention, as torch counts them, and those that quantised layers do
    in integers; element-wise work is not.
    """
    quantised = 0

    def count(layer: Any, inputs: Any, output: Tensor) -> None:
        nonlocal quantised
        quantised += 2 * output.numel() * layer.weight()[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in _quantised_layers(model)]
    try:
        with _evaluating(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return int(counter.get_total_flops()) + quantised


def measure_throughput(
    model: nn.Module,
    inputs: Inputs,
    *,
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
    budget_s: float = 0.15,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """Inference speed in evaluation mode, after warm-up: samples per second by batch size, latency at batch 1.

    Each batch size is timed for about `budget_s` seconds, and for five calls at least; rates are from the median call.
    Where the inputs (N, ...) are fewer than a batch, they are repeated.
    """
    samples_per_s: dict[str, float] = {}
    latencies = None
    with _evaluating(model), torch.inference_mode():
        for size in batch_sizes:
            rows = torch.arange(size, device=inputs.device) % len(inputs)
            seconds = _timed(model, inputs[rows], budget_s, clock)
            samples_per_s[str(size)] = size / float(np.median(seconds))
            if size == 1:
                latencies = np.percentile(seconds, [50, 95]) * 1e3
    return Throughput(
        inference_samples_per_s=samples_per_s,
        latency_ms_p50=None if latencies is None else float(latencies[0]),
        latency_ms_p95=None if latencies is None else float(latencies[1]),
    )


class PeakMemory:
    """The most memory that a block used, in bytes.

    On CUDA, that of torch's allocator on the device. On a CPU under Linux, the resident set of the whole process, read
    from the kernel, which is asked to begin anew; `peak_bytes` is None where it cannot be asked (another system, or a
    container that hides it), and on MPS.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.peak_bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        self._watched = True
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._watched = self._device.type == "cpu" and _reset_high_water_mark()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watched:
            on_gpu = self._device.type == "cuda"
            self.peak_bytes = torch.cuda.max_memory_allocated(self._device) if on_gpu else _high_water_mark()


def _timed(model: nn.Module, batch: Tensor, budget_s: float, clock: Callable[[], float]) -> list[float]:
    for _ in range(_WARM_UP_CALLS):
        model(batch)
    synchronize(batch.device)
    seconds: list[float] = []
    while sum(seconds) < budget_s or len(seconds) < _LEAST_CALLS:
        started = clock()
        model(batch)
        synchronize(batch.device)
        seconds.append(clock() - started)
    return seconds


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, given back to each module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _reset_high_water_mark() -> bool:
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _high_water_mark() -> int | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
