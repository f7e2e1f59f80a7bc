"""KL divergence to a teacher that is known by its k likeliest classes alone, as large teachers are cached."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from kdbench.errors import InvalidParameter, ModelMismatch
from kdbench.kernels import checks
from kdbench.kernels.autograd import loss_and_grad, losses, upstream_factor
from kdbench.kernels.operators import Operator
from kdbench.kernels.options import REDUCTIONS, TAILS, TEACHER_IS, Reduction, Tail, TeacherIs
from kdbench.kernels.rows import as_rows, factors, fill_masked, scaled, unread, whole
from kdbench.kernels.softmax import Softmax, kl, kl_of_given, log_of, softmax, terms

EMPTY = -1


class TopkArguments(NamedTuple):
    """What follows the student in the schema of `topk` (csrc/registration.cpp)."""

    teacher_values: Tensor
    teacher_indices: Tensor
    temperature: float
    row_temperature: Tensor | None
    scale: float
    row_scale: Tensor | None
    values_are: int
    tail: int


def kd_topk(
    student: Tensor,
    teacher_values: Tensor,
    teacher_indices: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    values_are: TeacherIs = "logits",
    tail: Tail = "renormalize",
    reduction: Reduction = "batchmean",
    scale: bool = True,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """KL divergence from a teacher's k listed classes to the student's distribution, times T².

    tail="renormalize": the teacher's probabilities over the listed classes are made to sum to 1, and
    Σ p (log p − log q) runs over those, with q the student's softmax over all V classes.
    tail="bucket": the listed probabilities are taken as they are; what is missing to 1 is compared with the student's
    probability of all other classes together, as one more class.

    Args:
        student: logits, shape (..., V).
        teacher_values: shape (..., k), in the student's dtype: the listed classes' logits, log-probabilities or
            probabilities, the latter two at the temperature already.
        teacher_indices: int64, shape (..., k): which classes, distinct within a row; -1 marks an empty place, whose
            value is not read. An index out of range makes the row NaN, and is an error in check mode.
        temperature: T > 0; a float, a tensor without dimensions, or one value per row with shape (...).
        values_are: what teacher_values holds. Logits need tail="renormalize": they do not tell what is missing.
        reduction, scale, row_weight, mask: as for `kd_kl`.

    Returns: a scalar in nats, or shape (...) for reduction="none"; float32, or float64 for float64 logits. A row that
        lists no class is 0.
    Raises: ModelMismatch for shapes, InvalidParameter for values, dtypes and devices.
    """
    rows, arguments = _prepared(
        student, teacher_values, teacher_indices, temperature, values_are, tail, reduction, scale, row_weight, mask
    )
    rowwise = reduction == "none"
    loss = losses(TOPK, rows, arguments, rowwise=rowwise).loss
    return loss.reshape(student.shape[:-1]) if rowwise else loss


def kd_topk_and_grad(
    student: Tensor,
    teacher_values: Tensor,
    teacher_indices: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    values_are: TeacherIs = "logits",
    tail: Tail = "renormalize",
    reduction: Reduction = "batchmean",
    scale: bool = True,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`kd_topk` and its gradient by the student's logits, without autograd.

    Args: as for `kd_topk`.

    Returns: the loss and the gradient, shape (..., V) in the student's dtype; that of the sum for reduction="none".
    Raises: as `kd_topk`.
    """
    rows, arguments = _prepared(
        student, teacher_values, teacher_indices, temperature, values_are, tail, reduction, scale, row_weight, mask
    )
    per_row, totals, grad = loss_and_grad(TOPK, rows, arguments)
    loss = per_row.reshape(student.shape[:-1]) if reduction == "none" else totals[0]
    return loss, grad.reshape(student.shape)


def _prepared(
    student: Tensor,
    teacher_values: Tensor,
    teacher_indices: Tensor,
    temperature: float | Tensor,
    values_are: TeacherIs,
    tail: Tail,
    reduction: Reduction,
    scale: bool,
    row_weight: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, TopkArguments]:
    student, teacher_values = _checked_lists(student, teacher_values, teacher_indices)
    checks.temperature("kd_topk", student, temperature)
    checks.choice("kd_topk", "values_are", values_are, TEACHER_IS)
    checks.choice("kd_topk", "tail", tail, TAILS)
    checks.choice("kd_topk", "reduction", reduction, REDUCTIONS)
    checks.row_options("kd_topk", student, mask, row_weight)
    if values_are == "logits" and tail == "bucket":
        raise InvalidParameter(
            "kd_topk: tail='bucket' needs probabilities",
            "logits of k classes do not tell how much probability the others have",
            "give log-probabilities (values_are='log_probs'), or tail='renormalize'",
        )
    checks.values("kd_topk", mask, student=student)
    rows = as_rows(student)
    temperature, row_temperature, factor, row_scale = factors(
        rows, temperature, reduction=reduction, scale=scale, row_weight=row_weight, mask=mask
    )
    return rows, TopkArguments(
        as_rows(teacher_values),
        as_rows(teacher_indices),
        temperature,
        row_temperature,
        factor,
        row_scale,
        TEACHER_IS[values_are],
        TAILS[tail],
    )


def _checked_lists(student: Tensor, values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    checks.logits("kd_topk", "student", student)
    checks.logits("kd_topk", "teacher_values", values)
    checks.tensor("kd_topk", "teacher_indices", indices)
    if indices.dtype is not torch.int64:
        raise InvalidParameter(
            f"kd_topk: teacher_indices are {str(indices.dtype).removeprefix('torch.')}",
            "class numbers are int64",
            "convert them: teacher_indices.long()",
        )
    if values.shape[:-1] != student.shape[:-1]:
        raise ModelMismatch(
            f"kd_topk: teacher_values has shape {tuple(values.shape)}",
            f"student has shape {tuple(student.shape)}: the leading dimensions differ",
            "list k classes for each row: (..., k)",
        )
    checks.shape("kd_topk", "teacher_indices", indices, values.shape, "teacher_values")
    checks.on_device("kd_topk", student, "teacher_indices", indices)
    checks.listed("kd_topk", indices, student.shape[-1], EMPTY)
    return checks.like_student("kd_topk", student, "teacher_values", values)


def _row_losses(student: Tensor, arguments: TopkArguments) -> Tensor:
    """Contributions of the rows, (N, 1)."""
    values, indices, temperature, row_temperature, scale, row_scale, values_are, tail = arguments
    classes = student.shape[1]
    listed = indices != EMPTY
    counted = listed.any(-1)
    classes = student.shape[1]
    q = softmax(fill_masked(unread(student, row_scale), counted), temperature, row_temperature)
    shifted = q.shifted.gather(1, indices.clamp(0, classes - 1))
    values = fill_masked(unread(values.to(student.dtype), row_scale), counted)
    open_ = ~listed & counted.unsqueeze(1)  # a row of empty places alone is not compared; any numbers do there
    bad = ((indices < EMPTY) | (indices >= classes) | (listed & (values.detach() == inf))).any(-1)
    listed_q = q._replace(shifted=shifted)
    if values_are != TEACHER_IS["probs"]:
        values = values.masked_fill(open_, -inf)
        renormalized = values_are == TEACHER_IS["logits"] or tail == TAILS["renormalize"]
        probs, log_probs = values.exp(), values
    else:
        probs = values.masked_fill(open_, 0)
        log_probs = log_of(probs)
        renormalized = tail == TAILS["renormalize"]
    if renormalized:
        given = values_are != TEACHER_IS["logits"]
        losses = kl(softmax(log_probs) if given else softmax(values, temperature, row_temperature), listed_q)
    else:
        losses = kl_of_given(probs, log_probs, listed_q) + _bucket(probs, q, indices)
    (losses,) = whole(losses, bad=bad)
    return scaled(losses.masked_fill(~counted, 0), scale, row_scale).unsqueeze(1)


def _bucket(p: Tensor, q: Softmax, indices: Tensor) -> Tensor:
    """The term (N,) of all classes that are not listed, taken as one; 0 where every class is listed."""
    rows, classes = q.exps.shape
    place = torch.where((indices < 0) | (indices >= classes), classes, indices)  # one place more, for those not listed
    taken = torch.zeros(rows, classes + 1, dtype=torch.bool, device=p.device).scatter(1, place, True)[:, :classes]
    everything = taken.all(-1)
    p_rest = (1 - p.sum(-1)).clamp(min=0).masked_fill(everything, 0)
    others = softmax(q.shifted.masked_fill(taken & ~everything.unsqueeze(1), -inf))
    top = q.shifted.detach().masked_fill(taken, -inf).amax(-1).masked_fill(everything, 0)
    log_q_rest = top + (others.total / q.total).log().squeeze(1)
    return terms(p_rest, log_of(p_rest), log_q_rest)


def _with_upstream(arguments: TopkArguments, upstream: Tensor) -> TopkArguments:
    return arguments._replace(row_scale=upstream_factor(arguments.row_scale, upstream))


TOPK: Operator[TopkArguments] = Operator("topk", 1, TopkArguments, _row_losses, lambda total, _: total, _with_upstream)
