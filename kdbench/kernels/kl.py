"""Temperature-scaled KL divergence between a teacher's and a student's distribution."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kdbench.errors import InvalidParameter
from kdbench.kernels import checks, direct
from kdbench.kernels.autograd import gradient_again, loss_and_grad, losses, upstream_factor
from kdbench.kernels.check_mode import checking
from kdbench.kernels.kl_closed import kl_and_grad
from kdbench.kernels.operators import Operator
from kdbench.kernels.options import REDUCTIONS, TEACHER_IS, Reduction, TeacherIs
from kdbench.kernels.rows import as_rows, factors, scaled, unread, whole
from kdbench.kernels.softmax import kl, kl_of_given, log_of, softmax, z_scores


class KlArguments(NamedTuple):
    """What follows the student in the schema of `kl` (csrc/registration.cpp)."""

    teacher: Tensor
    temperature: float
    row_temperature: Tensor | None
    scale: float
    row_scale: Tensor | None
    teacher_is: int
    standardize: bool


def kd_kl(
    student: Tensor,
    teacher: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    reduction: Reduction = "batchmean",
    scale: bool = True,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
    teacher_is: TeacherIs = "logits",
    standardize: bool = False,
    in_place_grad: bool = False,
) -> Tensor:
    """Temperature-scaled KL divergence from the teacher's to the student's distribution.

    T² · KL(softmax(teacher / T) ‖ softmax(student / T)), Hinton et al. (2015), eq. 2-4.

    Args:
        student, teacher: logits, shape (..., V), of one shape, dtype (float32, float64, bfloat16, float16) and device.
        temperature: T > 0; a float, a tensor without dimensions, or one value per row with shape (...).
        reduction: "batchmean" divides the sum over rows by the number of rows, "mean" by that of logits.
        scale: multiply by T², so that gradients keep their size as T changes (their section 2).
        row_weight: shape (...); multiplies each row's loss and not the divisor.
        mask: bool, shape (...); rows where it is False are not read and not counted.
        teacher_is: what `teacher` holds. Log-probabilities and probabilities are those at the temperature already,
            and are taken as they are: T divides the student's logits alone.
        standardize: z-score each row's logits, student's and teacher's, before T (Sun et al., 2024).
        in_place_grad: let the gradient overwrite the student's logits, which must not be used afterwards, neither by
            the caller nor by a second backward. Saves N · V numbers.

    Returns: a scalar in nats, or shape (...) for reduction="none"; float32, or float64 for float64 logits.
    Raises: ModelMismatch for shapes, InvalidParameter for values, dtypes and devices.
    """
    plain = reduction == "batchmean" and mask is None and row_weight is None and teacher_is == "logits"
    if plain and not standardize and not in_place_grad and (native := direct.module(student, teacher, temperature)):
        if student.requires_grad and torch.is_grad_enabled():
            return direct.differentiable(student, (teacher,), (native, float(temperature), scale), direct.kl, _again)
        return direct.kl(student, teacher, native, float(temperature), scale)[0]
    rows, arguments = _prepared(
        student, teacher, temperature, reduction, scale, row_weight, mask, teacher_is, standardize, in_place_grad
    )
    rowwise = reduction == "none"
    loss = losses(KL, rows, arguments, rowwise=rowwise, in_place=in_place_grad).loss
    return loss.reshape(student.shape[:-1]) if rowwise else loss


def kd_kl_and_grad(
    student: Tensor,
    teacher: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    reduction: Reduction = "batchmean",
    scale: bool = True,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
    teacher_is: TeacherIs = "logits",
    standardize: bool = False,
    in_place_grad: bool = False,
) -> tuple[Tensor, Tensor]:
    """`kd_kl` and its gradient by the student's logits, without autograd: for student.backward(gradient).

    Args: as for `kd_kl`. With in_place_grad the gradient is the student's memory.

    Returns: the loss and the gradient, shape (..., V) in the student's dtype; that of the sum for reduction="none".
    Raises: as `kd_kl`.
    """
    plain = reduction == "batchmean" and mask is None and row_weight is None and teacher_is == "logits"
    if plain and not standardize and not in_place_grad and (native := direct.module(student, teacher, temperature)):
        return direct.kl(student, teacher, native, float(temperature), scale)
    rows, arguments = _prepared(
        student, teacher, temperature, reduction, scale, row_weight, mask, teacher_is, standardize, in_place_grad
    )
    per_row, totals, grad = loss_and_grad(KL, rows, arguments, in_place=in_place_grad)
    loss = per_row.reshape(student.shape[:-1]) if reduction == "none" else totals[0]
    return loss, grad.reshape(student.shape)


def _again(student: Tensor, upstream: Tensor, others: Sequence[Tensor], rest: tuple[Any, ...]) -> Tensor:
    """The gradient of `direct.kl` times upstream, from the logits."""
    (teacher,), (_, temperature, scale) = others, rest
    rows = as_rows(student)
    factor = (temperature * temperature if scale else 1.0) / max(1, rows.shape[0])
    arguments = KlArguments(as_rows(teacher), temperature, None, factor, None, 0, False)
    return gradient_again(KL, rows, arguments, upstream).reshape(student.shape)


def _prepared(
    student: Tensor,
    teacher: Tensor,
    temperature: float | Tensor,
    reduction: Reduction,
    scale: bool,
    row_weight: Tensor | None,
    mask: Tensor | None,
    teacher_is: TeacherIs,
    standardize: bool,
    in_place_grad: bool,
) -> tuple[Tensor, KlArguments]:
    student, teacher = checks.logits_pair("kd_kl", student, teacher)
    checks.temperature("kd_kl", student, temperature)
    if reduction not in REDUCTIONS:
        checks.choice("kd_kl", "reduction", reduction, REDUCTIONS)
    if teacher_is not in TEACHER_IS:
        checks.choice("kd_kl", "teacher_is", teacher_is, TEACHER_IS)
    if mask is not None or row_weight is not None:
        checks.row_options("kd_kl", student, mask, row_weight)
    if standardize and teacher_is != "logits":
        raise InvalidParameter(
            f"kd_kl: standardize needs the teacher's logits, and teacher_is is {teacher_is!r}",
            "",
            "give logits, or standardize=False",
        )
    if in_place_grad:
        checks.in_place("kd_kl", student)
    if checking():
        checks.values("kd_kl", mask, student=student, teacher=teacher)
    rows = as_rows(student)
    temperature, row_temperature, factor, row_scale = factors(
        rows, temperature, reduction=reduction, scale=scale, row_weight=row_weight, mask=mask
    )
    code = TEACHER_IS[teacher_is]
    return rows, KlArguments(as_rows(teacher), temperature, row_temperature, factor, row_scale, code, standardize)


def _row_losses(student: Tensor, arguments: KlArguments) -> Tensor:
    """Contributions of the rows, (N, 1)."""
    teacher, temperature, row_temperature, scale, row_scale, teacher_is, standardize = arguments
    student, teacher = unread(student, row_scale), unread(teacher.to(student.dtype), row_scale)
    q = softmax(z_scores(student) if standardize else student, temperature, row_temperature)
    if teacher_is == TEACHER_IS["logits"]:
        p = softmax(z_scores(teacher) if standardize else teacher, temperature, row_temperature)
        (losses,) = whole(kl(p, q))
    else:
        given = teacher_is == TEACHER_IS["probs"]
        probs, log_probs = (teacher, log_of(teacher)) if given else (teacher.exp(), teacher)
        (losses,) = whole(kl_of_given(probs, log_probs, q), bad=teacher.detach().amax(-1) == inf)
    return scaled(losses, scale, row_scale).unsqueeze(1)


def _with_upstream(arguments: KlArguments, upstream: Tensor) -> KlArguments:
    return arguments._replace(row_scale=upstream_factor(arguments.row_scale, upstream))


def _closed(student: Tensor, arguments: KlArguments) -> tuple[Tensor, Tensor] | None:
    """Contributions of the rows, (N, 1), and the gradient, in the student's memory."""
    teacher, temperature, row_temperature, scale, row_scale, teacher_is, standardize = arguments
    if teacher_is != TEACHER_IS["logits"] or standardize:
        return None
    rows, grad = kl_and_grad(
        student,
        teacher.to(student.dtype),
        temperature if row_temperature is None else row_temperature.unsqueeze(1),
        scale if row_scale is None else scale * row_scale.unsqueeze(1),
    )
    return rows.unsqueeze(1), grad


KL: Operator[KlArguments] = Operator(
    "kl", 1, KlArguments, _row_losses, lambda total, _: total, _with_upstream, closed=_closed
)
