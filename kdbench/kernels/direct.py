"""The shortest way to the CPU kernels: by address, past the dispatcher, for the plain case of `kd_kl` and `kd_hinton`.

A small batch takes a few microseconds, less than an operator call through the dispatcher does. What is not plain (other
options, devices, layouts, subclasses, transforms, tracing) is left to the operators, which do the same.

Each line here costs a tenth of a microsecond in every training step, so that attributes are read once and nothing is
wrapped for looks.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from kdbench.kernels import backend, checks
from kdbench.kernels.check_mode import switched_on
from kdbench.kernels.loading import load_cpu

_DTYPES: dict[torch.dtype, tuple[int, Tensor]] = {
    torch.float32: (0, torch.empty((), dtype=torch.float32, device="cpu")),
    torch.float64: (1, torch.empty((), dtype=torch.float64, device="cpu")),
    torch.bfloat16: (2, torch.empty((), dtype=torch.float32, device="cpu")),
}
"""Logits that are served: their code in csrc/problem.h, and a scalar as their losses are. A tensor like that one is
quicker made than from a shape and a dtype. Not float16, whose gradients wait for a loss scaler's factor."""

_CPU = torch.device("cpu")
_dispatch_modes = torch._C._len_torch_dispatch_stack
_interpreter = torch._C._functorch.peek_interpreter_stack
_is_tracing = torch.compiler.is_compiling
_is_grad_enabled = torch.is_grad_enabled
_empty_like = torch.empty_like

_usual: list[ModuleType] = []
"""The kernels that serve this process where no back end is forced; found at the first call."""


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
        or (dtype := student.dtype) is not teacher.dtype
        or dtype not in _DTYPES
        or (shape := student.shape) != teacher.shape
        or not shape
        or not 0 < temperature < inf  # type: ignore[operator]
        or not student.is_contiguous()
        or not teacher.is_contiguous()
        or teacher.requires_grad
        or _dispatch_modes()
        or _interpreter() is not None
        or forward_ad._current_level >= 0
        or switched_on()
    ):
        return None
    return _usual[0] if _usual and backend._forced is None else _find()


def _find() -> ModuleType | None:
    if backend.backend_name(_CPU) != "cpu":
        return None
    loaded = load_cpu()
    native = None if loaded is None else loaded.native
    if native is not None and not _usual and backend._forced is None:
        _usual.append(native)
    return native


def kl(student: Tensor, teacher: Tensor, native: ModuleType, temperature: float, scaled: bool) -> tuple[Tensor, Tensor]:
    """The mean of the rows' losses, a scalar, and its gradient; times T² where `scaled`."""
    code, scalar = _DTYPES[student.dtype]
    rows, classes = _rows_and_classes(student)
    loss, grad = _empty_like(scalar), _empty_like(student)
    native.kl(
        student.data_ptr(),
        teacher.data_ptr(),
        grad.data_ptr(),
        loss.data_ptr(),
        rows,
        classes,
        code,
        temperature,
        (temperature * temperature if scaled else 1.0) / (rows or 1),
    )
    return loss, grad


def scalar_like(student: Tensor) -> Tensor:
    """Memory for a loss of these logits."""
    return _empty_like(_DTYPES[student.dtype][1])


def hinton(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    ce: Tensor,
    kd: Tensor,
    native: ModuleType,
    temperature: float,
    alpha: float,
    ignore_index: int,
) -> tuple[Tensor, Tensor]:
    """The loss, a scalar, and its gradient; its terms are written into the scalars `ce` and `kd`.

    Raises: InvalidParameter for a label out of range.
    """
    code, scalar = _DTYPES[student.dtype]
    rows, classes = _rows_and_classes(student)
    loss, grad = _empty_like(scalar), _empty_like(student)
    computed = native.hinton(
        student.data_ptr(),
        teacher.data_ptr(),
        labels.data_ptr(),
        grad.data_ptr(),
        loss.data_ptr(),
        ce.data_ptr(),
        kd.data_ptr(),
        rows,
        classes,
        code,
        temperature,
        alpha,
        ignore_index,
    )
    if not computed:
        checks.labels("kd_hinton", student, labels, ignore_index)
    return loss, grad


def _rows_and_classes(logits: Tensor) -> tuple[int, int]:
    shape = logits.shape
    return shape if len(shape) == 2 else (prod(shape[:-1]), shape[-1])


Compute = Callable[..., tuple[Tensor, Tensor]]
Again = Callable[..., Tensor]


class _WithGradient(torch.autograd.Function):
    """A loss that is computed with its gradient, which the first backward hands over and any other computes again."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, others: tuple[Tensor, ...], rest: tuple[Any, ...], compute: Compute, again: Again
    ) -> Tensor:
        loss, ctx.gradient = compute(student, *others, *rest)
        ctx.save_for_backward(student, *others)  # all, so that autograd notices where one is changed
        ctx.again = again, rest
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if gradient is None or _is_grad_enabled():
            student, *others = ctx.saved_tensors  # raises where the graph was freed
            again, rest = ctx.again
            return again(student, upstream, others, rest), None, None, None, None
        ctx.gradient = None
        return (gradient if upstream.item() == 1 else gradient.mul_(upstream)), None, None, None, None


class _Backward(_WithGradient._backward_cls):  # type: ignore[name-defined, misc]
    """The node itself, past a look-up of which of two functions the backward is."""

    apply = _WithGradient.backward


_WithGradient._backward_cls = _Backward

differentiable: Callable[[Tensor, tuple[Tensor, ...], tuple[Any, ...], Compute, Again], Tensor] = super(
    torch.autograd.Function, _WithGradient
).apply
"""The loss, a scalar, differentiable in the student: (student, others, rest, compute, again).

compute: (student, *others, *rest) -> loss and gradient. again: (student, upstream, others, rest) -> the gradient times
upstream from the logits, differentiable where grad mode is on. It is `apply` past its wrapper in Python, which looks
for the transforms that `module` has excluded.
"""
