"""Decoupled knowledge distillation: the target's and the other classes' part of the KL divergence, weighted apart."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from kdbench.kernels import checks
from kdbench.kernels.autograd import loss_and_grad, losses, upstream_factor
from kdbench.kernels.check_mode import checking
from kdbench.kernels.labels import in_range, out_of_range, some
from kdbench.kernels.operators import Operator
from kdbench.kernels.rows import as_rows, factors, fill_masked, scaled, unread, weighted, whole
from kdbench.kernels.softmax import Softmax, kl, softmax, terms


class DkdLoss(NamedTuple):
    """The objective, and its two terms for logging, unweighted and without gradient."""

    loss: Tensor
    target: Tensor
    non_target: Tensor


class DkdArguments(NamedTuple):
    """What follows the student in the schema of `dkd` (csrc/registration.cpp)."""

    teacher: Tensor
    labels: Tensor
    alpha: float
    beta: float
    temperature: float
    row_temperature: Tensor | None
    scale: float
    row_scale: Tensor | None
    ignore_index: int


def kd_dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    *,
    ignore_index: int = -100,
) -> DkdLoss:
    """Decoupled knowledge distillation, Zhao et al. (2022), eq. 7, times T².

    α · KL(b_teacher ‖ b_student) + β · KL(r_teacher ‖ r_student), where b is the probability of the label against that
    of all other classes, and r the distribution over those others alone, all at the temperature.

    Args:
        student, teacher: logits, shape (..., V), of one shape, dtype (float32, float64, bfloat16, float16) and device.
        labels: int64, shape (...), in [0, V) or ignore_index; checked as in `kd_hinton`.
        temperature: T > 0; a float, a tensor without dimensions, or one value per row with shape (...).
        alpha, beta: weights of the target term and of the non-target term.
        ignore_index: rows with this label do not count.

    Returns: the loss and the two terms, averaged over the rows that count; scalars in nats, float32, or float64 for
        float64 logits. 0 where no row counts. With V = 1, 0.
    Raises: ModelMismatch for shapes, InvalidParameter for values, dtypes and devices.
    """
    rows, arguments = _prepared(student, teacher, labels, temperature, alpha, beta, ignore_index)
    loss, totals = losses(DKD, rows, arguments)
    return DkdLoss(loss, totals[1], totals[2])


def kd_dkd_and_grad(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    *,
    ignore_index: int = -100,
) -> tuple[DkdLoss, Tensor]:
    """`kd_dkd` and the gradient of its loss by the student's logits, without autograd.

    Args: as for `kd_dkd`.

    Returns: the losses, and the gradient, shape (..., V) in the student's dtype.
    Raises: as `kd_dkd`.
    """
    rows, arguments = _prepared(student, teacher, labels, temperature, alpha, beta, ignore_index)
    _, totals, grad = loss_and_grad(DKD, rows, arguments)
    return DkdLoss(*totals.unbind()), grad.reshape(student.shape)


def _prepared(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    alpha: float,
    beta: float,
    ignore_index: int,
) -> tuple[Tensor, DkdArguments]:
    student, teacher = checks.logits_pair("kd_dkd", student, teacher)
    checks.temperature("kd_dkd", student, temperature)
    checks.number("kd_dkd", "alpha", alpha)
    checks.number("kd_dkd", "beta", beta)
    all_count = checks.labels("kd_dkd", student, labels, ignore_index)
    if checking():
        checks.values("kd_dkd", labels != ignore_index, student=student, teacher=teacher)
    rows, labels = as_rows(student), labels.reshape(-1)
    mask = None if all_count else labels != ignore_index
    temperature, row_temperature, factor, row_scale = factors(
        rows, temperature, reduction="batchmean", scale=True, mask=mask
    )
    return rows, DkdArguments(
        as_rows(teacher),
        labels,
        float(alpha),
        float(beta),
        temperature,
        row_temperature,
        factor,
        row_scale,
        ignore_index,
    )


def _row_losses(student: Tensor, arguments: DkdArguments) -> Tensor:
    """Contributions of the rows, (N, 2): target and non-target term.

    The label is left out of the other classes' sums, and its probability is got from its log-odds against them: nothing
    is subtracted from 1 that may have been rounded to 1.
    """
    a = arguments
    ignored = a.labels == a.ignore_index
    student, teacher = unread(student, a.row_scale), unread(a.teacher.to(student.dtype), a.row_scale)
    if a.row_scale is None and some(ignored):
        student, teacher = fill_masked(student, ~ignored), fill_masked(teacher, ~ignored)
    classes = student.shape[1]
    label = in_range(a.labels, classes).unsqueeze(1)
    others, teacher_others = student.scatter(1, label, -inf), teacher.scatter(1, label, -inf)
    # Where the teacher rules out all other classes there is no distribution over them to learn; where the student does
    # too, the label is the only class.
    certain = (teacher_others == -inf).all(-1)
    alone = certain & (others == -inf).all(-1)
    r_teacher = softmax(fill_masked(teacher_others, ~certain), a.temperature, a.row_temperature)
    r_student = softmax(fill_masked(others, ~alone), a.temperature, a.row_temperature)
    odds, bad = _log_odds(student, label, others, r_student, a)
    teacher_odds, teacher_bad = _log_odds(teacher, label, teacher_others, r_teacher, a)
    teacher_odds = teacher_odds.masked_fill(certain, inf)
    target = _bernoulli_kl(teacher_odds, odds).masked_fill(alone, 0)
    non_target = kl(r_teacher, r_student).masked_fill(certain, 0)
    pair = whole(target, non_target, bad=bad | teacher_bad | out_of_range(a.labels, classes))
    losses = torch.stack([scaled(term, a.scale, a.row_scale) for term in pair], 1)
    return losses.masked_fill(ignored.unsqueeze(1), 0)


def _log_odds(logits: Tensor, label: Tensor, others: Tensor, r: Softmax, a: DkdArguments) -> tuple[Tensor, Tensor]:
    """Log-odds (N,) of the label against all other classes; and whether the row has no softmax."""
    at_label = logits.gather(1, label)
    top = others.detach().amax(-1, keepdim=True)
    bad = ~torch.isfinite(torch.maximum(at_label.detach(), top)).squeeze(1)
    above = (at_label - top.masked_fill(top == -inf, 0)).squeeze(1)
    above = above / (a.temperature if a.row_temperature is None else a.row_temperature)
    return above - r.total.log().squeeze(1), bad


def _bernoulli_kl(teacher_odds: Tensor, odds: Tensor) -> Tensor:
    """KL divergence (N,) between Bernoulli distributions given by their log-odds."""
    yes = terms(teacher_odds.sigmoid(), logsigmoid(teacher_odds), logsigmoid(odds))
    no = terms((-teacher_odds).sigmoid(), logsigmoid(-teacher_odds), logsigmoid(-odds))
    return yes + no


def _total(sums: Tensor, arguments: DkdArguments) -> Tensor:
    target, non_target = sums[:1], sums[1:]
    loss = weighted(arguments.alpha, target) + weighted(arguments.beta, non_target)
    return torch.cat((loss, target, non_target))


def _with_upstream(arguments: DkdArguments, upstream: Tensor) -> DkdArguments:
    return arguments._replace(row_scale=upstream_factor(arguments.row_scale, upstream))


DKD: Operator[DkdArguments] = Operator("dkd", 2, DkdArguments, _row_losses, _total, _with_upstream)
