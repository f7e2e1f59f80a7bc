"""Rows of logits and the one factor that each is multiplied by: reduction, T², weights and mask in one."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from kdbench.kernels.options import Reduction, accumulation
from kdbench.kernels.tracing import traced


class Factors(NamedTuple):
    """Temperature and factor of every row, as the operators take them (csrc/problem.h).

    A row's temperature is row_temperature[r], or temperature without one; its factor is scale · row_scale[r]. Both
    tensors are (N,), float32 or, for float64 logits, float64.
    """

    temperature: float
    row_temperature: Tensor | None
    scale: float
    row_scale: Tensor | None


def as_rows(logits: Tensor) -> Tensor:
    """Logits (..., V) as (N, V), a view where the layout allows it."""
    return logits if logits.ndim == 2 else logits.reshape(prod(logits.shape[:-1]), logits.shape[-1])


def temperatures(student: Tensor, temperature: float | Tensor) -> tuple[float, Tensor | None]:
    """The temperature as a number, or as one value per row of the student's (N, V) logits.

    A single value that lives on the CPU is read; one that lives on a GPU, or that requires grad, becomes a row.
    """
    if not isinstance(temperature, Tensor):
        return float(temperature), None
    if not temperature.ndim and temperature.device.type == "cpu" and not temperature.requires_grad and not traced():
        return float(temperature), None
    values = temperature.to(device=student.device, dtype=accumulation(student.dtype))
    return 1.0, values.expand(student.shape[0]) if not values.ndim else values.reshape(student.shape[0])


def factors(
    student: Tensor,
    temperature: float | Tensor,
    *,
    reduction: Reduction,
    scale: bool,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Factors:
    """Temperature and factor of each row of the student's (N, V) logits.

    Args:
        reduction: "batchmean" divides by the number of rows that count, "mean" by that times V.
        scale: multiply each row by the square of its temperature.
        row_weight, mask: N values in any shape; rows where mask is False get the factor 0.
    """
    number, per_row = temperatures(student, temperature)
    rows, classes = student.shape
    factor = number * number if scale else 1.0
    row_factor = per_row * per_row if scale and per_row is not None else None
    if reduction == "mean":
        factor /= max(1, classes)
    averaged = reduction in {"batchmean", "mean"}
    if averaged and mask is None:
        factor /= max(1, rows)
    if row_weight is not None:
        weight = row_weight.reshape(rows).to(accumulation(student.dtype))
        row_factor = weight if row_factor is None else row_factor * weight
    if mask is not None:
        row_factor = masked(mask.reshape(rows), row_factor, student.dtype, averaged=averaged)
    return Factors(number, per_row, factor, row_factor)


def masked(counted: Tensor, row_factor: Tensor | None, dtype: torch.dtype, *, averaged: bool) -> Tensor:
    """Factors of rows (N,) that are 0 where a row does not count; `averaged` divides by how many do (at least 1)."""
    one = torch.ones((), dtype=accumulation(dtype), device=counted.device)
    value = one / counted.sum().clamp(min=1) if averaged else one
    if row_factor is not None:
        value = row_factor * value
    return torch.where(counted, value, torch.zeros_like(one))


def fill_masked(logits: Tensor, counted: Tensor) -> Tensor:
    """Logits (N, V) with 0 in the rows (N,) that do not count, whose values and gradients then reach nothing."""
    return logits.masked_fill(~counted.reshape(-1, 1), 0)


def unread(logits: Tensor, *row_scales: Tensor | None) -> Tensor:
    """Logits whose rows with a factor of 0 in every one of row_scales cannot spoil a gradient, whatever they hold."""
    counted: Tensor | None = None
    for row_scale in row_scales:
        if row_scale is None or row_scale.requires_grad:
            return logits
        nonzero = row_scale != 0
        counted = nonzero if counted is None else counted | nonzero
    return logits if counted is None else fill_masked(logits, counted)


def whole(*terms: Tensor, bad: Tensor | None = None) -> tuple[Tensor, ...]:
    """A row's terms, each (N,), all NaN where one is or `bad` (N,) is set; the row's whole gradient is NaN then."""
    nan = bad
    for term in terms:
        nan = term.detach().isnan() if nan is None else nan | term.detach().isnan()
    assert nan is not None
    factor = torch.where(nan, terms[0].new_full((), float("nan")), terms[0].new_ones(()))
    return tuple(term * factor for term in terms)


def weighted(weight: float, term: Tensor) -> Tensor:
    """The term times its weight; of weight 0 it is left out, so that it costs nothing where it is infinite."""
    return weight * term if weight else torch.zeros_like(term)


def scaled(losses: Tensor, scale: float, row_scale: Tensor | None) -> Tensor:
    """Row losses (N,) times their factors; a row with the factor 0 is 0, whatever its loss."""
    if row_scale is None:
        return losses * scale
    if row_scale.requires_grad:
        return losses * (row_scale * scale)
    return torch.where(row_scale == 0, torch.zeros_like(losses), losses * (row_scale * scale))
