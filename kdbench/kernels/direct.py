"""The shortest way to the CPU kernels: by address, past the dispatcher, for the plain case of `kd_kl` and `kd_hinton`.

A small batch takes a few microseconds, less than an operator call through the dispatcher does. What is not plain (other
options, devices, layouts, subclasses, transforms, tracing) is left to the operators, which do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from kdbench.kernels.backend import backend_name
from kdbench.kernels.check_mode import switched_on
from kdbench.kernels.loading import load_cpu
from kdbench.kernels.options import accumulation
from kdbench.kernels.tracing import transformed

_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2}
"""As in csrc/problem.h. Not float16, whose gradients wait for a loss scaler's factor."""

_CPU = torch.device("cpu")
_dispatch_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch.compiler.is_compiling

_empty: dict[tuple[torch.dtype, int], Tensor] = {}
"""Templates of the totals: like them is quicker made than from a shape and a dtype."""


def module(student: Tensor, teacher: Tensor, temperature: object) -> ModuleType | None:
    """The kernels by address, where they serve these logits as they are; None where the operators must."""
    kind, number = type(student), type(temperature)
    if (
        _is_tracing()
        or (number is not float and number is not int)
        or (kind is not Tensor and kind is not Parameter)
        or type(teacher) is not Tensor
        or not student.is_cpu
        or not teacher.is_cpu
        or student.shape != teacher.shape
        or student.dtype is not teacher.dtype
        or student.dtype not in _DTYPES
        or not student.ndim
        or not 0 < temperature < inf  # type: ignore[operator]
        or not student.is_contiguous()
        or not teacher.is_contiguous()
        or teacher.requires_grad
        or _dispatch_modes()
        or transformed()
        or switched_on()
        or backend_name(_CPU) != "cpu"
    ):
        return None
    loaded = load_cpu()
    return None if loaded is None else loaded.native


def totals(student: Tensor, count: int) -> Tensor:
    """Memory for an operator's totals: a scalar for one, else (count,)."""
    key = student.dtype, count
    template = _empty.get(key)
    if template is None:
        shape = () if count == 1 else (count,)
        template = _empty[key] = torch.empty(shape, dtype=accumulation(student.dtype))
    return torch.empty_like(template)


def kl(native: ModuleType, student: Tensor, teacher: Tensor, temperature: float, scale: float) -> tuple[Tensor, Tensor]:
    """The loss, a scalar, and its gradient, for one temperature and one factor for all rows."""
    grad, total = torch.empty_like(student), totals(student, 1)
    classes = student.shape[-1]
    native.kl(
        student.data_ptr(),
        teacher.data_ptr(),
        grad.data_ptr(),
        total.data_ptr(),
        student.numel() // classes if classes else 0,
        classes,
        _DTYPES[student.dtype],
        temperature,
        scale,
    )
    return total, grad


def hinton(
    native: ModuleType,
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float,
    ignore_index: int,
    counted: int,
) -> tuple[Tensor, Tensor]:
    """The totals (loss, ce, kd), shape (3,), and the gradient; `counted` rows have a label."""
    grad, total = torch.empty_like(student), totals(student, 3)
    classes, share = student.shape[-1], 1 / max(1, counted)
    native.hinton(
        student.data_ptr(),
        teacher.data_ptr(),
        labels.data_ptr(),
        grad.data_ptr(),
        total.data_ptr(),
        student.numel() // classes if classes else 0,
        classes,
        _DTYPES[student.dtype],
        temperature,
        alpha,
        temperature * temperature * share,
        share,
        ignore_index,
    )
    return total, grad


Compute = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Again = Callable[[Tensor, Tensor], Tensor]


class _WithGradient(torch.autograd.Function):
    """A loss that is computed with its gradient, which the first backward hands over and any other computes again."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, compute: Compute, again: Again) -> Any:
        totals, ctx.gradient = compute(student, teacher)
        ctx.save_for_backward(student, teacher)  # the teacher too, so that autograd notices where it is changed
        ctx.again = again
        if not totals.ndim:
            return totals
        ctx.mark_non_differentiable(totals)
        return totals[0].clone(), totals

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor | None = None) -> tuple[Tensor | None, ...]:
        student = ctx.saved_tensors[0]
        gradient = ctx.gradient
        if gradient is None or torch.is_grad_enabled():
            return ctx.again(student, upstream), None, None, None
        ctx.gradient = None
        return (gradient if upstream.item() == 1 else gradient.mul_(upstream)), None, None, None


class _Backward(_WithGradient._backward_cls):  # type: ignore[name-defined, misc]
    """The node itself, past a look-up of which of two functions the backward is."""

    def apply(self, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _WithGradient.backward(self, *upstream)


_WithGradient._backward_cls = _Backward

differentiable: Callable[[Tensor, Tensor, Compute, Again], Any] = super(torch.autograd.Function, _WithGradient).apply
"""The totals, shape (), or the loss and the totals, (3,), with the gradient of the loss.

compute: (student, teacher) -> totals and gradient. again: (student, upstream) -> the gradient times upstream from the
logits, differentiable where grad mode is on. It is `apply` past its wrapper in Python, which looks for the transforms
that `module` has excluded.
"""
