"""Hinton's objective: cross-entropy with the labels and KL divergence to the teacher, in one pass over the logits."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kdbench.kernels import checks, direct
from kdbench.kernels.autograd import gradient_again, loss_and_grad, losses, upstream_factor
from kdbench.kernels.check_mode import checking
from kdbench.kernels.hinton_closed import hinton_and_grad
from kdbench.kernels.labels import in_range, out_of_range, some
from kdbench.kernels.operators import Operator
from kdbench.kernels.options import accumulation
from kdbench.kernels.rows import as_rows, factors, fill_masked, masked, scaled, unread, weighted, whole
from kdbench.kernels.softmax import kl, softmax, z_scores


class HintonLoss(NamedTuple):
    """The objective, and its two terms for logging, which carry no gradient."""

    loss: Tensor
    ce: Tensor
    kd: Tensor


class HintonArguments(NamedTuple):
    """What follows the student in the schema of `hinton` (csrc/registration.cpp)."""

    teacher: Tensor
    labels: Tensor
    temperature: float
    row_temperature: Tensor | None
    alpha: float
    scale: float
    row_scale: Tensor | None
    ce_scale: float
    ce_row_scale: Tensor | None
    label_smoothing: float
    class_weight: Tensor | None
    ignore_index: int
    standardize: bool


def kd_hinton(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 4.0,
    alpha: float = 0.9,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    class_weight: Tensor | None = None,
    standardize: bool = False,
    in_place_grad: bool = False,
) -> HintonLoss:
    """Cross-entropy with the labels, and temperature-scaled KL divergence to the teacher.

    (1 − α) · CE(student, labels) + α · T² · KL(softmax(teacher / T) ‖ softmax(student / T)), Hinton et al. (2015),
    section 2. The cross-entropy is that of torch.nn.functional.cross_entropy, at temperature 1.

    Args:
        student, teacher: logits, shape (..., V), of one shape, dtype (float32, float64, bfloat16, float16) and device.
        labels: int64, shape (...), in [0, V) or ignore_index. Checked on the CPU, and in check mode elsewhere, where a
            label out of range otherwise makes the loss NaN.
        temperature: T > 0; a float, a tensor without dimensions, or one value per row with shape (...).
        alpha: weight of the teacher's term, in [0, 1].
        label_smoothing: ε in [0, 1]: the labels' part that is spread over all classes. Of the cross-entropy alone.
        ignore_index: rows with this label count in neither term, and in neither mean.
        class_weight: shape (V,); weights of the classes in the cross-entropy, whose mean is then a weighted one.
        standardize: z-score the logits before T (Sun et al., 2024). Of the teacher's term alone.
        in_place_grad: let the gradient overwrite the student's logits, as in `kd_kl`.

    Returns: the loss, the mean cross-entropy, and T² · KL averaged over the rows that count; all scalars, in nats,
        float32, or float64 for float64 logits. 0 where no row counts.
    Raises: ModelMismatch for shapes, InvalidParameter for values, dtypes and devices.
    """
    plain = not label_smoothing and class_weight is None and not standardize and not in_place_grad
    if plain and (native := _direct_module(student, teacher, labels, temperature, alpha)):
        ce, kd = direct.scalar_like(student), direct.scalar_like(student)
        rest = ce, kd, native, float(temperature), alpha, ignore_index
        if student.requires_grad and torch.is_grad_enabled():
            loss = direct.differentiable(student, (teacher, labels), rest, direct.hinton, _again)
        else:
            loss = direct.hinton(student, teacher, labels, *rest)[0]
        return HintonLoss(loss, ce, kd)
    rows, arguments = _prepared(
        student,
        teacher,
        labels,
        temperature,
        alpha,
        label_smoothing,
        ignore_index,
        class_weight,
        standardize,
        in_place_grad,
    )
    loss, totals = losses(HINTON, rows, arguments, in_place=in_place_grad)
    return HintonLoss(loss, totals[1], totals[2])


def kd_hinton_and_grad(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor = 4.0,
    alpha: float = 0.9,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    class_weight: Tensor | None = None,
    standardize: bool = False,
    in_place_grad: bool = False,
) -> tuple[HintonLoss, Tensor]:
    """`kd_hinton` and the gradient of its loss by the student's logits, without autograd.

    Args: as for `kd_hinton`. With in_place_grad the gradient is the student's memory.

    Returns: the losses, and the gradient, shape (..., V) in the student's dtype.
    Raises: as `kd_hinton`.
    """
    plain = not label_smoothing and class_weight is None and not standardize and not in_place_grad
    if plain and (native := _direct_module(student, teacher, labels, temperature, alpha)):
        ce, kd = direct.scalar_like(student), direct.scalar_like(student)
        loss, grad = direct.hinton(student, teacher, labels, ce, kd, native, float(temperature), alpha, ignore_index)
        return HintonLoss(loss, ce, kd), grad
    rows, arguments = _prepared(
        student,
        teacher,
        labels,
        temperature,
        alpha,
        label_smoothing,
        ignore_index,
        class_weight,
        standardize,
        in_place_grad,
    )
    _, totals, grad = loss_and_grad(HINTON, rows, arguments, in_place=in_place_grad)
    return HintonLoss(*totals.unbind()), grad.reshape(student.shape)


def _direct_module(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: object, alpha: object
) -> ModuleType | None:
    """The kernels by address; None where the operator must serve, or refuse."""
    native = direct.module(student, teacher, temperature)
    if (
        native is None
        or type(alpha) not in {float, int}
        or not 0 <= alpha <= 1  # type: ignore[operator]
        or type(labels) is not Tensor
        or labels.dtype is not torch.int64
        or not labels.is_cpu
        or labels.shape != student.shape[:-1]
        or not labels.is_contiguous()
    ):
        return None
    return native


def _again(student: Tensor, upstream: Tensor, others: Sequence[Tensor], rest: tuple[Any, ...]) -> Tensor:
    """The gradient of `direct.hinton` times upstream, from the logits."""
    (teacher, labels), (_, _, _, temperature, alpha, ignore_index) = others, rest
    rows = as_rows(student)
    arguments = hinton_arguments(
        rows, as_rows(teacher), labels.reshape(-1), temperature, alpha, ignore_index=ignore_index
    )
    return gradient_again(HINTON, rows, arguments, upstream).reshape(student.shape)


def _prepared(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    alpha: float,
    label_smoothing: float,
    ignore_index: int,
    class_weight: Tensor | None,
    standardize: bool,
    in_place_grad: bool,
) -> tuple[Tensor, HintonArguments]:
    student, teacher = checks.logits_pair("kd_hinton", student, teacher)
    checks.temperature("kd_hinton", student, temperature)
    checks.number("kd_hinton", "alpha", alpha, 0, 1)
    checks.number("kd_hinton", "label_smoothing", label_smoothing, 0, 1)
    if class_weight is not None:
        checks.class_weight("kd_hinton", student, class_weight)
    all_count = checks.labels("kd_hinton", student, labels, ignore_index)
    if in_place_grad:
        checks.in_place("kd_hinton", student)
    if checking():
        checks.values("kd_hinton", labels != ignore_index, student=student, teacher=teacher)
    rows, labels = as_rows(student), labels.reshape(-1)
    arguments = hinton_arguments(
        rows,
        as_rows(teacher),
        labels,
        temperature,
        alpha,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        standardize=standardize,
        all_count=all_count,
    )
    return rows, arguments


def hinton_arguments(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    alpha: float,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    class_weight: Tensor | None = None,
    standardize: bool = False,
    all_count: bool = False,
) -> HintonArguments:
    """The operator's arguments for rows (N, V) with labels (N,); all_count: no label is ignore_index."""
    counted = None if all_count else labels != ignore_index
    temperature, row_temperature, scale, row_scale = factors(
        student, temperature, reduction="batchmean", scale=True, mask=counted
    )
    ce_scale, ce_row_scale = 1.0, None
    if class_weight is not None:
        class_weight = class_weight.to(accumulation(student.dtype))
        divisor = _weight_of(labels, class_weight, counted)
        ce_row_scale = (1 / divisor).expand(labels.shape[0])
        if counted is not None:
            ce_row_scale = torch.where(counted, ce_row_scale, torch.zeros_like(divisor))
    elif counted is None:
        ce_scale = 1 / max(1, labels.shape[0])
    else:
        same = row_scale is not None and row_temperature is None
        ce_row_scale = row_scale if same else masked(counted, None, student.dtype, averaged=True)
    return HintonArguments(
        teacher,
        labels,
        temperature,
        row_temperature,
        float(alpha),
        scale,
        row_scale,
        ce_scale,
        ce_row_scale,
        float(label_smoothing),
        class_weight,
        ignore_index,
        standardize,
    )


def _weight_of(labels: Tensor, class_weight: Tensor, counted: Tensor | None) -> Tensor:
    """Sum of the classes' weights over the rows that count; 1 where it is 0."""
    classes = class_weight.shape[0]
    if classes == 0:
        return class_weight.new_ones(())
    weights = class_weight[labels.clamp(0, classes - 1)]
    if counted is not None:
        weights = torch.where(counted, weights, torch.zeros_like(weights))
    total = weights.sum()
    return torch.where(total == 0, torch.ones_like(total), total)


def _row_losses(student: Tensor, arguments: HintonArguments) -> Tensor:
    """Contributions of the rows, (N, 2): cross-entropy and KL divergence."""
    a = arguments
    ignored = a.labels == a.ignore_index
    student = unread(student, a.row_scale, a.ce_row_scale)
    teacher = unread(a.teacher.to(student.dtype), a.row_scale)
    if a.row_scale is None and some(ignored):
        student, teacher = fill_masked(student, ~ignored), fill_masked(teacher, ~ignored)
    ce = _cross_entropy(student, a.labels, a.label_smoothing, a.class_weight)
    if a.standardize:
        student, teacher = z_scores(student), z_scores(teacher)
    p = softmax(teacher, a.temperature, a.row_temperature)
    kd = kl(p, softmax(student, a.temperature, a.row_temperature))
    ce, kd = whole(ce, kd, bad=out_of_range(a.labels, student.shape[1]))
    terms = torch.stack((scaled(ce, a.ce_scale, a.ce_row_scale), scaled(kd, a.scale, a.row_scale)), 1)
    return terms.masked_fill(ignored.unsqueeze(1), 0)


def _cross_entropy(student: Tensor, labels: Tensor, smoothing: float, weight: Tensor | None) -> Tensor:
    """Row losses (N,) of torch.nn.functional.cross_entropy, before its mean."""
    classes = student.shape[1]
    q = softmax(student)
    log_total = q.total.log()
    label = in_range(labels, classes)
    losses = (log_total - q.shifted.gather(1, label.unsqueeze(1))).squeeze(1)
    if weight is not None:
        losses = _weighted(losses, weight[label])
    if smoothing:
        costs = log_total - q.shifted
        spread = costs if weight is None else _weighted(costs, weight)
        losses = (1 - smoothing) * losses + smoothing / classes * spread.sum(-1)
    return losses


def _weighted(losses: Tensor, weight: Tensor) -> Tensor:
    """Losses times weights; a weight of 0 takes away an infinite loss too, but not NaN."""
    return losses.masked_fill((weight == 0) & (losses == inf), 0) * weight


def _total(sums: Tensor, arguments: HintonArguments) -> Tensor:
    ce, kd = sums[:1], sums[1:]
    loss = weighted(1 - arguments.alpha, ce) + weighted(arguments.alpha, kd)
    return torch.cat((loss, ce, kd))


def _with_upstream(arguments: HintonArguments, upstream: Tensor) -> HintonArguments:
    return arguments._replace(
        row_scale=upstream_factor(arguments.row_scale, upstream),
        ce_row_scale=upstream_factor(arguments.ce_row_scale, upstream),
    )


def _closed(student: Tensor, arguments: HintonArguments) -> tuple[Tensor, Tensor] | None:
    """Contributions of the rows, (N, 2), and the gradient."""
    a = arguments
    if a.standardize:
        return None
    return hinton_and_grad(
        student,
        a.teacher.to(student.dtype),
        a.labels,
        a.temperature if a.row_temperature is None else a.row_temperature.unsqueeze(1),
        a.alpha,
        a.scale if a.row_scale is None else a.scale * a.row_scale.unsqueeze(1),
        a.ce_scale if a.ce_row_scale is None else a.ce_scale * a.ce_row_scale.unsqueeze(1),
        a.label_smoothing,
        a.class_weight,
        a.ignore_index,
    )


HINTON: Operator[HintonArguments] = Operator(
    "hinton", 2, HintonArguments, _row_losses, _total, _with_upstream, closed=_closed
)
