"""Divergences between teacher and student other than forward KL: reversed, mixed, skewed, total variation."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from torch import Tensor

from kdbench.errors import InvalidParameter
from kdbench.kernels import checks
from kdbench.kernels.autograd import loss_and_grad, losses, upstream_factor
from kdbench.kernels.operators import Operator
from kdbench.kernels.options import DIVERGENCES, REDUCTIONS, Divergence, Reduction
from kdbench.kernels.rows import as_rows, factors, scaled, unread, whole
from kdbench.kernels.softmax import Softmax, kl, log_of, softmax, terms

DEFAULT_BETA = {"js": 0.5, "skew_kl": 0.1, "skew_reverse_kl": 0.1}


class DivergenceArguments(NamedTuple):
    """What follows the student in the schema of `divergence` (csrc/registration.cpp)."""

    teacher: Tensor
    kind: int
    beta: float
    temperature: float
    row_temperature: Tensor | None
    scale: float
    row_scale: Tensor | None


def kd_divergence(
    student: Tensor,
    teacher: Tensor,
    temperature: float | Tensor = 1.0,
    kind: Divergence = "js",
    beta: float | None = None,
    *,
    reduction: Reduction = "batchmean",
    scale: bool = True,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """A divergence between p = softmax(teacher / T) and q = softmax(student / T), times T².

    | kind | formula | source |
    | --- | --- | --- |
    | forward_kl | KL(p ‖ q) | Hinton et al. (2015) |
    | reverse_kl | KL(q ‖ p) | Gu et al. (2024), MiniLLM |
    | js | β KL(p ‖ m) + (1 − β) KL(q ‖ m), m = β p + (1 − β) q | Agarwal et al. (2024), GKD, eq. 2 |
    | skew_kl | KL(p ‖ β p + (1 − β) q) | Ko et al. (2024), DistiLLM |
    | skew_reverse_kl | KL(q ‖ (1 − β) p + β q) | Ko et al. (2024) |
    | tvd | ½ Σ abs(p − q) | Wen et al. (2023), f-DISTILL |

    Args:
        student, teacher: logits, shape (..., V), of one shape, dtype (float32, float64, bfloat16, float16) and device.
        temperature: T > 0; a float, a tensor without dimensions, or one value per row with shape (...).
        kind: which divergence.
        beta: in (0, 1); by default 0.5 for js and 0.1 for the skewed kinds. The other kinds take none.
        reduction, scale, row_weight, mask: as for `kd_kl`.

    Returns: a scalar in nats (tvd: in [0, T²]), or shape (...) for reduction="none"; float32, or float64 for float64.
    Raises: ModelMismatch for shapes, InvalidParameter for values, dtypes and devices.
    """
    rows, arguments = _prepared(student, teacher, temperature, kind, beta, reduction, scale, row_weight, mask)
    rowwise = reduction == "none"
    loss = losses(DIVERGENCE, rows, arguments, rowwise=rowwise).loss
    return loss.reshape(student.shape[:-1]) if rowwise else loss


def kd_divergence_and_grad(
    student: Tensor,
    teacher: Tensor,
    temperature: float | Tensor = 1.0,
    kind: Divergence = "js",
    beta: float | None = None,
    *,
    reduction: Reduction = "batchmean",
    scale: bool = True,
    row_weight: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`kd_divergence` and its gradient by the student's logits, without autograd.

    Args: as for `kd_divergence`.

    Returns: the loss and the gradient, shape (..., V) in the student's dtype; that of the sum for reduction="none".
    Raises: as `kd_divergence`.
    """
    rows, arguments = _prepared(student, teacher, temperature, kind, beta, reduction, scale, row_weight, mask)
    per_row, totals, grad = loss_and_grad(DIVERGENCE, rows, arguments)
    loss = per_row.reshape(student.shape[:-1]) if reduction == "none" else totals[0]
    return loss, grad.reshape(student.shape)


def _prepared(
    student: Tensor,
    teacher: Tensor,
    temperature: float | Tensor,
    kind: Divergence,
    beta: float | None,
    reduction: Reduction,
    scale: bool,
    row_weight: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, DivergenceArguments]:
    student, teacher = checks.logits_pair("kd_divergence", student, teacher)
    checks.temperature("kd_divergence", student, temperature)
    checks.choice("kd_divergence", "kind", kind, DIVERGENCES)
    checks.choice("kd_divergence", "reduction", reduction, REDUCTIONS)
    checks.row_options("kd_divergence", student, mask, row_weight)
    if beta is None:
        beta = DEFAULT_BETA.get(kind, 0.0)
    elif kind in DEFAULT_BETA:
        checks.number("kd_divergence", "beta", beta, 0, 1, open_=True)
    else:
        raise InvalidParameter(
            f"kd_divergence: {kind!r} takes no beta",
            f"beta is {beta}",
            f"leave it out, or choose one of {', '.join(DEFAULT_BETA)}",
        )
    checks.values("kd_divergence", mask, student=student, teacher=teacher)
    rows = as_rows(student)
    temperature, row_temperature, factor, row_scale = factors(
        rows, temperature, reduction=reduction, scale=scale, row_weight=row_weight, mask=mask
    )
    code = DIVERGENCES[kind]
    return rows, DivergenceArguments(
        as_rows(teacher), code, float(beta), temperature, row_temperature, factor, row_scale
    )


def _row_losses(student: Tensor, arguments: DivergenceArguments) -> Tensor:
    """Contributions of the rows, (N, 1)."""
    teacher, kind, beta, temperature, row_temperature, scale, row_scale = arguments
    q = softmax(unread(student, row_scale), temperature, row_temperature)
    p = softmax(unread(teacher.to(student.dtype), row_scale), temperature, row_temperature)
    (losses,) = whole(_KINDS[kind](p, q, beta))
    return scaled(losses, scale, row_scale).unsqueeze(1)


def _forward_kl(p: Softmax, q: Softmax, _beta: float) -> Tensor:
    return kl(p, q)


def _reverse_kl(p: Softmax, q: Softmax, _beta: float) -> Tensor:
    return kl(q, p)


def _js(p: Softmax, q: Softmax, beta: float) -> Tensor:
    p_probs, q_probs = p.probs, q.probs
    log_m = _log_mixture(p_probs, q_probs, beta)
    return (beta * terms(p_probs, p.log_probs, log_m) + (1 - beta) * terms(q_probs, q.log_probs, log_m)).sum(-1)


def _skew_kl(p: Softmax, q: Softmax, beta: float) -> Tensor:
    probs = p.probs
    return terms(probs, p.log_probs, _log_mixture(probs, q.probs, beta)).sum(-1)


def _skew_reverse_kl(p: Softmax, q: Softmax, beta: float) -> Tensor:
    return _skew_kl(q, p, beta)


def _tvd(p: Softmax, q: Softmax, _beta: float) -> Tensor:
    return 0.5 * (p.probs - q.probs).abs().sum(-1)


def _log_mixture(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """log(β a + (1 − β) b); where both are 0, 0 rather than -inf, since every term with it is 0."""
    log_m = log_of(beta * a + (1 - beta) * b)
    return log_m.masked_fill(log_m == -inf, 0)


# By the codes of `DIVERGENCES`.
_KINDS = (_forward_kl, _reverse_kl, _js, _skew_kl, _skew_reverse_kl, _tvd)


def _with_upstream(arguments: DivergenceArguments, upstream: Tensor) -> DivergenceArguments:
    return arguments._replace(row_scale=upstream_factor(arguments.row_scale, upstream))


DIVERGENCE: Operator[DivergenceArguments] = Operator(
    "divergence", 1, DivergenceArguments, _row_losses, lambda total, _: total, _with_upstream
)
