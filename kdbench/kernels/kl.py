"""Temperature-scaled KL divergence between a teacher's and a student's distribution."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from kdbench.errors import InvalidParameter, ModelMismatch

Reduction = Literal["batchmean", "mean", "sum", "none"]


def kd_kl(
    student: Tensor,
    teacher: Tensor,
    temperature: float = 1.0,
    *,
    reduction: Reduction = "batchmean",
    scale: bool = True,
) -> Tensor:
    """Temperature-scaled KL divergence from the teacher's to the student's distribution.

    T² · KL(softmax(teacher / T) ‖ softmax(student / T)), Hinton et al. (2015), eq. 2-4.

    Args:
        student, teacher: logits, shape (..., V), same shape.
        temperature: T > 0.
        reduction: "batchmean" divides the sum over rows by the number of rows, "mean" by that of elements.
        scale: multiply by T², so that gradients keep their size as T changes (their section 2).

    Returns: a scalar in nats, or shape (...) for reduction="none".
    Raises: ModelMismatch for shapes that differ; InvalidParameter for a temperature that is not positive.
    """
    if student.shape != teacher.shape or not student.ndim:
        raise ModelMismatch(
            "kd_kl: student and teacher logits differ in shape",
            f"{tuple(student.shape)} and {tuple(teacher.shape)}",
            "give logits (..., V) over the same classes",
        )
    if not temperature > 0:
        raise InvalidParameter(f"kd_kl: temperature {temperature} is not positive")
    log_student = functional.log_softmax(student / temperature, dim=-1)
    log_teacher = functional.log_softmax(teacher / temperature, dim=-1)
    rows = functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1)
    if scale:
        rows = rows * temperature**2
    match reduction:
        case "none":
            return rows
        case "sum":
            return rows.sum()
        case "mean":
            return rows.sum() / max(1, student.numel())
        case "batchmean":
            return rows.sum() / max(1, rows.numel())
    raise InvalidParameter(f"kd_kl: unknown reduction {reduction!r}", "", "known: batchmean, mean, sum, none")
