"""pytest-benchmark timings of the losses, grouped by shape: `pytest tests/benchmarks --benchmark-only`.

Ratios come from `kdbench kernels bench`, which takes the contestants in turn; this follows one of them over time.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kdbench import kernels
from kdbench.kernels.bench import CPU_SHAPES

TEMPERATURE = 4.0


def _eager(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> None:
    student.grad = None
    log_q, p = functional.log_softmax(student / TEMPERATURE, -1), functional.softmax(teacher / TEMPERATURE, -1)
    (functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2).backward()


def _kd_kl(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> None:
    student.grad = None
    kernels.kd_kl(student, teacher, TEMPERATURE).backward()


def _kd_kl_and_grad(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> None:
    kernels.kd_kl_and_grad(student, teacher, TEMPERATURE)


def _kd_hinton_and_grad(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> None:
    kernels.kd_hinton_and_grad(student, teacher, labels, TEMPERATURE, 0.9)


@pytest.mark.parametrize("call", [_eager, _kd_kl, _kd_kl_and_grad, _kd_hinton_and_grad], ids=lambda f: f.__name__[1:])
@pytest.mark.parametrize("shape", CPU_SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_loss_and_gradient(benchmark, shape, call):
    benchmark.group = "x".join(map(str, shape))
    stream = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(shape, generator=stream) for _ in range(2))
    labels = torch.randint(shape[1], shape[:1], generator=stream)
    call(student.requires_grad_(), teacher, labels)
    benchmark(call, student, teacher, labels)
