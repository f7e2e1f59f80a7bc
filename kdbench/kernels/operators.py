"""A loss over rows as an operator: its losses in differentiable torch operations, and its gradient from them.

An `Operator` called as `operator(student, *arguments)` has the signature of the operator of that name in
csrc/registration.cpp and returns what that returns: it is the back end `torch`, and what the others are held against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from kdbench.kernels.backend import backend_name
from kdbench.kernels.options import accumulation

A = TypeVar("A", bound=tuple[object, ...])


class Fused(NamedTuple):
    """Row losses (N, terms), totals (loss first), and the gradient of the loss by the student's logits (N, V)."""

    rows: Tensor
    totals: Tensor
    grad: Tensor


@dataclass(frozen=True)
class Operator(Generic[A]):
    """One loss over rows.

    Args:
        name: as in csrc/registration.cpp.
        terms: how many losses a row has.
        arguments: the named tuple of what follows the student in its schema.
        row_losses: (student in the accumulation dtype, arguments) -> contributions of the rows, shape (N, terms),
            differentiable.
        total: (contributions summed over rows, shape (terms,), arguments) -> totals, the loss first.
        with_upstream: (arguments, upstream (N,)) -> arguments whose row factors are multiplied by it.
        closed: (student in the accumulation dtype, whose memory may become the gradient, arguments) -> contributions
            and gradient in closed form, or None where the arguments need autograd.
    """

    name: str
    terms: int
    arguments: Callable[..., A]
    row_losses: Callable[[Tensor, A], Tensor]
    total: Callable[[Tensor, A], Tensor]
    with_upstream: Callable[[A, Tensor], A]
    closed: Callable[[Tensor, A], tuple[Tensor, Tensor] | None] | None = None

    def losses(self, student: Tensor, arguments: A) -> tuple[Tensor, Tensor]:
        """Row losses and totals, differentiable in every tensor."""
        if 0 in student.shape:
            rows = self._no_rows(student)
        else:
            # Converted once, so that a 16-bit gradient is rounded once.
            rows = self.row_losses(student.to(accumulation(student.dtype)), arguments)
        return rows, self.total(rows.sum(0), arguments)

    def _no_rows(self, student: Tensor) -> Tensor:
        """Row losses of 0 where there are no rows, or no classes."""
        zero = student.sum(-1, dtype=accumulation(student.dtype))
        return zero.unsqueeze(1).expand(-1, self.terms)

    def __call__(self, student: Tensor, *values: object) -> Fused:
        """Row losses, totals and gradient; the student's logits are not changed."""
        acc = accumulation(student.dtype)
        copy = student.detach().to(acc, copy=True) if self.closed else student
        fused = self._in_closed_form(copy, student.dtype, values)
        return fused or self._by_autograd(student, values)

    def in_place(self, student: Tensor, *values: object) -> tuple[Tensor, Tensor]:
        """Row losses and totals; the gradient replaces the student's logits."""
        memory = student.detach()
        fused = self._in_closed_form(memory.to(accumulation(student.dtype)), student.dtype, values)
        rows, totals, grad = fused or self._by_autograd(student, values)
        if grad.data_ptr() != memory.data_ptr():
            memory.copy_(grad)
        return rows, totals

    def _in_closed_form(self, student: Tensor, dtype: torch.dtype, values: tuple[object, ...]) -> Fused | None:
        arguments = self.arguments(*values)
        if self.closed is None or 0 in student.shape:
            return None
        with torch.no_grad():
            result = self.closed(student, arguments)
            if result is None:
                return None
            rows, grad = result
            return Fused(rows, self.total(rows.sum(0), arguments), grad.to(dtype))

    def _by_autograd(self, student: Tensor, values: tuple[object, ...]) -> Fused:
        arguments = self.arguments(*values)
        with torch.enable_grad():
            leaf = student.detach().requires_grad_()
            rows, totals = self.losses(leaf, arguments)
            (grad,) = torch.autograd.grad(totals[0], leaf)
        return Fused(rows.detach(), totals.detach(), grad)


Native = Callable[..., tuple[Tensor, ...]]


def native(name: str, device: torch.device) -> Native | None:
    """The compiled operator that serves a device, or None where the back end is torch."""
    if backend_name(device) == "torch":
        return None
    operator: Native = getattr(torch.ops.kdbench, name)
    return operator


def call(compiled: Native, student: Tensor, arguments: tuple[object, ...]) -> tuple[Tensor, ...]:
    """A compiled operator on tensors of any layout; it takes dense ones."""
    return compiled(student.contiguous(), *(a.contiguous() if isinstance(a, Tensor) else a for a in arguments))
