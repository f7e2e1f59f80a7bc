"""How a loss's operator takes part in differentiation.

The fused operator computes the gradient with the loss. The backward hands that gradient over, so that the common
case passes over it no more than once; whatever comes after (a second backward, a gradient of the gradient) is computed
again from the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from kdbench.errors import InvalidParameter
from kdbench.kernels.operators import Fused, Native, Operator, call, native
from kdbench.kernels.options import accumulation
from kdbench.kernels.tracing import transformed

A = TypeVar("A", bound=tuple[object, ...])


class Losses(NamedTuple):
    """The loss (a scalar, or one value per row) and the totals without gradient, the loss first."""

    loss: Tensor
    totals: Tensor


def losses(
    operator: Operator[A], student: Tensor, arguments: A, *, rowwise: bool = False, in_place: bool = False
) -> Losses:
    """The losses of a student's (N, V) logits, differentiable in every tensor that requires grad.

    Args:
        rowwise: the loss is one value per row, (N,), instead of the total.
        in_place: the gradient may overwrite the student's logits.
    """
    if transformed():
        return _plain(operator, student, arguments, rowwise)
    grad_mode = torch.is_grad_enabled()
    if grad_mode and any(isinstance(a, Tensor) and a.requires_grad for a in arguments):
        return _plain(operator, student, arguments, rowwise)
    compiled = native(operator.name, student.device)
    if torch.compiler.is_compiling():
        if compiled is None:
            return _plain(operator, student, arguments, rowwise)
        # One node, which knows its backward. 1/N may be symbolic, and a number that an operator takes may not.
        rows, totals, _ = call(compiled, student, _factors_in_rows(student, arguments))
        return Losses(rows[:, 0] if rowwise else totals[0], totals.detach())
    if grad_mode and student.requires_grad and (compiled is not None or in_place or operator.closed is not None):
        loss, totals = _apply(student, operator, arguments, rowwise, in_place)
        return Losses(loss, totals)
    if compiled is None:
        return _plain(operator, student, arguments, rowwise)
    rows, totals, _ = call(compiled, student, arguments)
    return Losses(rows[:, 0] if rowwise else totals[0], totals)


def loss_and_grad(operator: Operator[A], student: Tensor, arguments: A, *, in_place: bool = False) -> Fused:
    """Row losses, totals and the gradient by the student's (N, V) logits, without autograd.

    in_place: the gradient may overwrite the student's logits.
    """
    with torch.no_grad():
        if transformed() or (torch.compiler.is_compiling() and native(operator.name, student.device) is None):
            return _traced_grad(operator, student, arguments)
        return _fused(operator, student.detach(), arguments, in_place=in_place)


def _factors_in_rows(student: Tensor, arguments: A) -> A:
    """The arguments with each factor of all rows in the tensor of the rows' factors."""
    values = arguments._asdict()  # type: ignore[attr-defined]
    ones = student.new_ones(student.shape[0], dtype=accumulation(student.dtype))
    for prefix in ("", "ce_"):
        if f"{prefix}scale" in values:
            rows = values[f"{prefix}row_scale"]
            values[f"{prefix}row_scale"] = (ones if rows is None else rows) * values[f"{prefix}scale"]
            values[f"{prefix}scale"] = 1.0
    changed: A = type(arguments)(**values)
    return changed


def _plain(operator: Operator[A], student: Tensor, arguments: A, rowwise: bool) -> Losses:
    rows, totals = operator.losses(student, arguments)
    return Losses(rows[:, 0] if rowwise else totals[0], totals.detach())


def _traced_grad(operator: Operator[A], student: Tensor, arguments: A) -> Fused:
    def total(student: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        rows, totals = operator.losses(student, arguments)
        return totals[0], (rows, totals)

    grad, (rows, totals) = torch.func.grad(total, has_aux=True)(student)
    return Fused(rows, totals, grad)


def _fused(operator: Operator[A], student: Tensor, arguments: A, *, in_place: bool) -> Fused:
    """The operator of the back end at hand. In place, the gradient that it returns is the student's own memory."""
    if not in_place or not student.is_contiguous():
        compiled = native(operator.name, student.device)
        if compiled is None:
            return operator(student, *arguments)
        return Fused(*call(compiled, student, arguments))
    overwriting: Native = native(f"{operator.name}_", student.device) or operator.in_place
    rows, totals = call(overwriting, student, arguments)
    return Fused(rows, totals, student)


class _FusedLoss(torch.autograd.Function):
    """Loss and totals of an operator whose gradient is computed in the forward."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, operator: Operator[A], arguments: A, rowwise: bool, in_place: bool
    ) -> tuple[Tensor, Tensor]:
        rows, totals, grad = _fused(operator, student.detach(), arguments, in_place=in_place)
        overwritten = grad.data_ptr() == student.data_ptr() and grad.numel() > 0
        ctx.operator, ctx.rowwise, ctx.overwritten = operator, rowwise, overwritten
        # The arguments' tensors are saved by autograd, which notices where they are changed before they are needed.
        ctx.arguments = operator.arguments(*(None if isinstance(a, Tensor) else a for a in arguments))
        ctx.places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor)]
        if overwritten:
            increment_version(student)
            ctx.save_for_backward()
        else:
            ctx.save_for_backward(student, *(arguments[i] for i in ctx.places))
        # float16 would lose gradients that the upstream factor, a loss scaler's, was to lift: computed with it later.
        ctx.gradient = None if grad.dtype is torch.float16 and not overwritten else grad
        ctx.mark_non_differentiable(totals)
        ctx.set_materialize_grads(False)
        # Copies: a view that a Function returns could not be changed in place by the caller.
        return rows[:, 0].clone() if rowwise else totals[0].clone(), totals

    @staticmethod
    def backward(ctx: Any, upstream: Tensor | None, _totals: Tensor | None) -> tuple[Tensor | None, ...]:
        if upstream is None:
            return None, None, None, None, None
        saved = ctx.saved_tensors  # raises where the graph was freed
        if ctx.overwritten and (ctx.gradient is None or torch.is_grad_enabled()):
            raise InvalidParameter(
                f"kd_{ctx.operator.name}: the student's logits are gone",
                "in_place_grad=True put the gradient in their place, which serves one backward without create_graph",
                "pass in_place_grad=False",
            )
        gradient = ctx.gradient
        if gradient is None or torch.is_grad_enabled():
            again = gradient_again(ctx.operator, saved[0], _restored(ctx, saved), upstream, rowwise=ctx.rowwise)
            return again, None, None, None, None
        ctx.gradient = None
        return _times(gradient, upstream), None, None, None, None


_apply: Callable[..., tuple[Tensor, Tensor]] = _FusedLoss.apply


def _restored(ctx: Any, saved: tuple[Tensor, ...]) -> tuple[object, ...]:
    values = list(ctx.arguments)
    for place, value in zip(ctx.places, saved[1:], strict=True):
        values[place] = value
    restored: tuple[object, ...] = ctx.operator.arguments(*values)
    return restored


def gradient_again(
    operator: Operator[A], student: Tensor, arguments: A, upstream: Tensor, *, rowwise: bool = False
) -> Tensor:
    """The gradient times upstream, from the logits (N, V); differentiable, in torch operations, in grad mode."""
    if torch.is_grad_enabled():
        loss = _plain(operator, student, arguments, rowwise).loss
        (gradient,) = torch.autograd.grad(loss, student, upstream, create_graph=True)
        return gradient
    student = student.detach()
    if student.dtype is not torch.float16:
        return _times(_fused(operator, student, arguments, in_place=False).grad, upstream)
    per_row = upstream.expand(student.shape[0])
    return _fused(operator, student, operator.with_upstream(arguments, per_row), in_place=False).grad


def _times(gradient: Tensor, upstream: Tensor) -> Tensor:
    """The gradient (N, V), in its own memory, times one upstream gradient or one for each row."""
    if upstream.ndim:
        return gradient.mul_(upstream.unsqueeze(1))
    # Reading the factor is free on the CPU; on a GPU it would wait for the device, so a kernel looks at it there.
    if upstream.is_cpu:
        return gradient if upstream.item() == 1 else gradient.mul_(upstream)
    if upstream.is_cuda and native("scale_", upstream.device) is not None:
        torch.ops.kdbench.scale_(gradient, upstream)
        return gradient
    return gradient.mul_(upstream)


def upstream_factor(row_scale: Tensor | None, upstream: Tensor) -> Tensor:
    """Row factors (N,) times the rows' upstream gradients; a factor of 0 stays 0."""
    if row_scale is None:
        return upstream.contiguous()
    return torch.where(row_scale == 0, row_scale, row_scale * upstream)
