"""A language model's head by chunks against whole logits: `python tests/benchmarks/bench_linear.py [N WIDTH CLASSES]`.

Memory is what a process's resident set grows by at most during one forward and backward, each in a process of its own;
times are taken in turn in one process, medians with quartiles.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.engine.cost import PeakMemory
from kdbench.kernels import linear_kd_kl
from kdbench.kernels.bench import interleaved, machine, spread

TEMPERATURE = 2.0
SHAPE = (512, 256, 32_000)


def eager(student: Tensor, weight: Tensor, teacher: Tensor, teacher_weight: Tensor) -> Tensor:
    """The divergence of whole logits, as most code has it."""
    log_q = functional.log_softmax(student @ weight.T / TEMPERATURE, -1)
    with torch.no_grad():
        p = functional.softmax(teacher @ teacher_weight.T / TEMPERATURE, -1)
    return functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2


def by_chunks(student: Tensor, weight: Tensor, teacher: Tensor, teacher_weight: Tensor) -> Tensor:
    """The same, with no more than a chunk of the logits at a time."""
    return linear_kd_kl(student, weight, teacher, teacher_weight, TEMPERATURE)


LOSSES = {"eager": eager, "by chunks": by_chunks}


def example(rows: int, width: int, classes: int) -> tuple[Tensor, ...]:
    """Hidden states (rows, width) and heads (classes, width) of a student and a teacher."""
    stream = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(rows, width, generator=stream) for _ in range(2))
    weights = [torch.randn(classes, width, generator=stream) / width**0.5 for _ in range(2)]
    return student.requires_grad_(), weights[0].requires_grad_(), teacher, weights[1]


def step(loss: Callable[..., Tensor], tensors: tuple[Tensor, ...]) -> None:
    """Forward and backward, the gradients anew."""
    for tensor in tensors:
        tensor.grad = None
    loss(*tensors).backward()


def extra_bytes(name: str, shape: tuple[int, int, int]) -> float:
    """What one step adds to the resident set at its highest, the gradients included."""
    step(LOSSES[name], example(8, 8, 16))  # what a process loads once
    tensors = example(*shape)
    with PeakMemory(torch.device("cpu")) as memory:
        before = _resident()
        step(LOSSES[name], tensors)
    if memory.peak_bytes is None:
        raise SystemExit("this system does not tell a process's peak memory")
    return memory.peak_bytes - before


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main(shape: tuple[int, int, int]) -> None:
    """Print both."""
    for name, value in machine("cpu").items():
        print(f"{name}: {value}")
    print("{} rows, width {}, {} classes".format(*shape))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        extra = {name: pool.apply(extra_bytes, (name, shape)) for name in LOSSES}
    gradients = 4 * shape[1] * (shape[0] + shape[2])
    for name, value in extra.items():
        print(f"  {name:10} {value / 2**20:8.1f} MiB more at most, {gradients / 2**20:.1f} of them the gradients")
    print(f"  by chunks / eager: {extra['by chunks'] / extra['eager']:.3f}")
    tensors = example(*shape)
    samples = interleaved({name: lambda loss=loss: step(loss, tensors) for name, loss in LOSSES.items()}, 15, "cpu")
    for name, values in samples.items():
        print(f"  {name:10} {spread([1e3 * value for value in values])} ms")
    ratios = [a / b for a, b in zip(samples["eager"], samples["by chunks"], strict=True)]
    print(f"  eager / by chunks: {spread(ratios)}")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main((given[0], given[1], given[2]) if given else SHAPE)
