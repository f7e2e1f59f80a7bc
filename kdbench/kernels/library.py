"""What torch.library has to know of the compiled operators: shapes without data, and how they differentiate.

Registered once the library that declares them is loaded. torch.compile and torch.export then carry them as one node.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdbench.kernels.operators import Operator
from kdbench.kernels.options import accumulation

NAMESPACE = "kdbench"
IN_PLACE = frozenset({"kl", "hinton"})
"""Operators with a twin, named with a trailing underscore, that overwrites the student's logits."""


def register_all() -> None:
    """Register every operator that the loaded library declares."""
    from kdbench.kernels.divergence import DIVERGENCE
    from kdbench.kernels.dkd import DKD
    from kdbench.kernels.hinton import HINTON
    from kdbench.kernels.kl import KL
    from kdbench.kernels.topk import TOPK

    for operator in (KL, HINTON, DIVERGENCE, DKD, TOPK):
        if hasattr(torch.ops.kdbench, operator.name):
            register(operator)


def register(operator: Operator[Any]) -> None:
    """Give the loaded operator of that name its fake implementation and its backward."""
    name = f"{NAMESPACE}::{operator.name}"

    def outputs(student: Tensor) -> tuple[Tensor, Tensor]:
        dtype = accumulation(student.dtype)
        rows = student.new_empty((student.shape[0], operator.terms), dtype=dtype)
        return rows, student.new_empty((1 if operator.terms == 1 else 3,), dtype=dtype)

    def fake(student: Tensor, *arguments: object) -> tuple[Tensor, Tensor, Tensor]:
        return (*outputs(student), torch.empty_like(student))

    def fake_in_place(student: Tensor, *arguments: object) -> tuple[Tensor, Tensor]:
        return outputs(student)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        student, *arguments = inputs
        rows, totals, grad = output
        ctx.places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor)]
        ctx.arguments = [None if isinstance(a, Tensor) else a for a in arguments]
        ctx.save_for_backward(student, grad, *(arguments[i] for i in ctx.places))
        ctx.mark_non_differentiable(grad, *((rows,) if operator.terms > 1 else ()))

    def backward(ctx: Any, of_rows: Tensor | None, of_totals: Tensor | None, of_grad: None) -> tuple[Any, ...]:
        student, grad, *tensors = ctx.saved_tensors
        none = [None] * len(ctx.arguments)
        if torch.is_grad_enabled():
            arguments = list(ctx.arguments)
            for place, tensor in zip(ctx.places, tensors, strict=True):
                arguments[place] = tensor
            rows, totals = operator.losses(student, operator.arguments(*arguments))
            wanted = [(o, g) for o, g in ((rows, of_rows), (totals, of_totals)) if g is not None and o.requires_grad]
            (result,) = torch.autograd.grad([o for o, _ in wanted], student, [g for _, g in wanted], create_graph=True)
            return (result, *none)
        factor = None if of_totals is None else of_totals[0]
        if operator.terms == 1 and of_rows is not None:
            factor = of_rows if factor is None else of_rows + factor
        return (None if factor is None else (grad * factor).to(grad.dtype), *none)

    torch.library.register_fake(name, fake)
    torch.library.register_autograd(name, backward, setup_context=setup_context)
    if operator.name in IN_PLACE:
        torch.library.register_fake(f"{name}_", fake_in_place)
