"""The distillation loss of a language model's head, fused with the head's product so that no (N, V) tensor is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.errors import InvalidParameter, ModelMismatch
from kdbench.kernels import checks
from kdbench.kernels.linear_chunks import Heads, chunk_size, linear_loss, linear_loss_and_grad
from kdbench.kernels.options import LOGIT_DTYPES
from kdbench.kernels.rows import as_rows

HEADS = ("student_hidden", "student_weight", "teacher_hidden", "teacher_weight")


def linear_kd_kl(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    labels: Tensor | None = None,
    alpha: float = 0.9,
    ignore_index: int = -100,
    chunk_rows: int | None = None,
) -> Tensor:
    """`kd_kl` (batchmean) of student_hidden · student_weightᵀ and teacher_hidden · teacher_weightᵀ; never both whole.

    Logits are computed chunk_rows rows at a time, turned into their gradient in place, and multiplied into the
    gradients of the student's hidden states and weight at once. With labels, the objective is `kd_hinton`'s loss.

    Args:
        student_hidden, teacher_hidden: shapes (..., D) and (..., E).
        student_weight, teacher_weight: shapes (V, D) and (V, E), as in torch.nn.Linear. All four of one dtype and
            device; under autocast they are converted to its dtype, as torch.nn.functional.linear does.
        temperature: T > 0; a float, a tensor without dimensions, or one value per row with shape (...).
        labels: int64, shape (...), in [0, V) or ignore_index; checked as in `kd_hinton`.
        alpha: weight of the teacher's term, in [0, 1]; used with labels alone.
        ignore_index: rows with this label do not count.
        chunk_rows: rows of logits that are held at a time; by default as many as fit a few megabytes.

    Returns: a scalar in nats; float32, or float64 for float64. Differentiable in student_hidden and student_weight;
        the teacher's are taken as constants, also where they require grad. float16 and bfloat16 gradients are summed
        in float32. A second derivative is taken from whole logits.
    Raises: ModelMismatch for shapes, InvalidParameter for values, dtypes and devices.
    """
    heads = _prepared(
        student_hidden,
        student_weight,
        teacher_hidden,
        teacher_weight,
        temperature,
        labels,
        alpha,
        ignore_index,
        chunk_rows,
    )
    return linear_loss(heads)


def linear_kd_kl_and_grad(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    temperature: float | Tensor = 1.0,
    *,
    labels: Tensor | None = None,
    alpha: float = 0.9,
    ignore_index: int = -100,
    chunk_rows: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`linear_kd_kl` and its gradients by the student's hidden states and weight, without autograd.

    Args: as for `linear_kd_kl`.

    Returns: the loss, the gradient by student_hidden and that by student_weight, in their shapes and dtypes.
    Raises: as `linear_kd_kl`.
    """
    heads = _prepared(
        student_hidden,
        student_weight,
        teacher_hidden,
        teacher_weight,
        temperature,
        labels,
        alpha,
        ignore_index,
        chunk_rows,
    )
    loss, grad_hidden, grad_weight = linear_loss_and_grad(heads)
    return (
        loss,
        grad_hidden.to(student_hidden.dtype).reshape(student_hidden.shape),
        grad_weight.to(student_weight.dtype),
    )


def _prepared(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    temperature: float | Tensor,
    labels: Tensor | None,
    alpha: float,
    ignore_index: int,
    chunk_rows: int | None,
) -> Heads:
    tensors = (student_hidden, student_weight, teacher_hidden, teacher_weight)
    _check_heads(*tensors)
    student_hidden, student_weight, teacher_hidden, teacher_weight = _one_dtype(*tensors)
    # A stand-in of the logits' shape, which takes no memory.
    logits = student_hidden.detach().new_empty(()).expand(*student_hidden.shape[:-1], student_weight.shape[0])
    checks.temperature("linear_kd_kl", logits, temperature)
    if isinstance(temperature, Tensor) and temperature.requires_grad:
        raise InvalidParameter(
            "linear_kd_kl: temperature requires grad",
            "gradients are computed for student_hidden and student_weight alone",
            "detach it, or use kd_kl on the logits",
        )
    checks.number("linear_kd_kl", "alpha", alpha, 0, 1)
    all_count = True
    if labels is not None:
        all_count = checks.labels("linear_kd_kl", logits, labels, ignore_index)
        labels = labels.reshape(-1)
    if chunk_rows is None:
        chunk_rows = chunk_size(logits)
    elif not isinstance(chunk_rows, int) or chunk_rows < 1:
        raise InvalidParameter(f"linear_kd_kl: chunk_rows {chunk_rows!r} is not a positive whole number")
    return Heads(
        as_rows(student_hidden).contiguous(),
        student_weight.contiguous(),
        as_rows(teacher_hidden.detach()),
        teacher_weight.detach(),
        temperature.reshape(-1) if isinstance(temperature, Tensor) and temperature.ndim else temperature,
        labels,
        float(alpha),
        ignore_index,
        all_count,
        chunk_rows,
    )


def _check_heads(
    student_hidden: Tensor, student_weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor
) -> None:
    for name, value in zip(HEADS, (student_hidden, student_weight, teacher_hidden, teacher_weight), strict=True):
        checks.logits("linear_kd_kl", name, value)
        checks.on_device("linear_kd_kl", student_hidden, name, value)
    for side, hidden, weight in (
        ("student", student_hidden, student_weight),
        ("teacher", teacher_hidden, teacher_weight),
    ):
        if weight.ndim != 2 or weight.shape[1] != hidden.shape[-1]:
            raise ModelMismatch(
                f"linear_kd_kl: {side}_weight does not fit {side}_hidden",
                f"shapes {tuple(weight.shape)} and {tuple(hidden.shape)}",
                "give a weight (V, D) and hidden states (..., D), as to torch.nn.functional.linear",
            )
    if student_weight.shape[0] != teacher_weight.shape[0]:
        raise ModelMismatch(
            "linear_kd_kl: student_weight and teacher_weight differ in their number of classes",
            f"{student_weight.shape[0]} and {teacher_weight.shape[0]}",
            "cut both to the vocabulary that they share: weight[:V]",
        )
    checks.shape(
        "linear_kd_kl",
        "teacher_hidden",
        teacher_hidden,
        (*student_hidden.shape[:-1], teacher_hidden.shape[-1]),
        "one row for each of the student's",
    )


def _one_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in autocast's dtype where that is on (float64 excepted), else as they are, if of one dtype."""
    device = tensors[0].device.type
    if torch.is_autocast_enabled(device):
        wanted = torch.get_autocast_dtype(device)
        if wanted in LOGIT_DTYPES and all(value.dtype is not torch.float64 for value in tensors):
            return tuple(value.to(wanted) for value in tensors)
    for name, value in zip(HEADS, tensors, strict=True):
        if value.dtype is not tensors[0].dtype:
            raise InvalidParameter(
                f"linear_kd_kl: student_hidden is {tensors[0].dtype} and {name} is {value.dtype}".replace("torch.", ""),
                "one dtype is needed outside autocast",
                f"convert one: {name}.to(student_hidden.dtype)",
            )
    return tensors
