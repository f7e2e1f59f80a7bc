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
    """

    name: str
    terms: int
    arguments: Callable[..., A]
    row_losses: Callable[[Tensor, A], Tensor]
    total: Callable[[Tensor, A], Tensor]
    with_upstream: Callable[[A, Tensor], A]

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
        arguments = self.arguments(*values)
        with torch.enable_grad():
            leaf = student.detach().requires_grad_()
            rows, totals = self.losses(leaf, arguments)
            (grad,) = torch.autograd.grad(totals[0], leaf)
        return Fused(rows.detach(), totals.detach(), grad)

    def in_place(self, student: Tensor, *values: object) -> tuple[Tensor, Tensor]:
        """Row losses and totals; the gradient replaces the student's logits."""
        rows, totals, grad = self(student, *values)
        student.detach().copy_(grad)
        return rows, totals


Native = Callable[..., tuple[Tensor, ...]]


def native(name: str, device: torch.device) -> Native | None:
    """The compiled operator that serves a device, or None where the back end is torch."""
    if backend_name(device) == "torch":
        return None
    operator: Native = getattr(torch.ops.kdbench, name)
    return operator
