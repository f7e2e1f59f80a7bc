"""The losses as their formulas are usually written in torch: what the kernels are checked and measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kdbench import kernels

TEMPERATURE = 4.0
ALPHA = 0.9
TOP_K = 8


class Example(NamedTuple):
    """The arguments of a loss: those that it is differentiated by, and the others."""

    leaves: tuple[Tensor, ...]
    others: tuple[Tensor, ...]


@dataclass(frozen=True)
class Loss:
    """One loss three ways.

    Args:
        example: make arguments for (rows, classes, dtype, device).
        fused: the public function's loss, differentiable in the leaves.
        and_grad: the public function's loss and its gradients by the leaves, without autograd.
        plain: the formula.
        dtypes: those that it is checked in.
        exact: whether the kernel reads what the formula reads; products of matrices round before it does.
        least_classes: the formula is 0/0 below.
    """

    name: str
    example: Callable[[int, int, torch.dtype, str], Example]
    fused: Callable[[Example], Tensor]
    and_grad: Callable[[Example], tuple[Tensor, ...]]
    plain: Callable[[Example], Tensor]
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
    exact: bool = True
    least_classes: int = 1


def losses() -> list[Loss]:
    """Every loss of `kdbench.kernels`, with the options of its papers."""
    kinds: tuple[kernels.Divergence, ...] = ("forward_kl", "reverse_kl", "js", "skew_kl", "skew_reverse_kl", "tvd")
    return [
        Loss(
            "kd_kl",
            _teacher_example,
            lambda one: kernels.kd_kl(one.leaves[0], one.others[0], TEMPERATURE),
            lambda one: kernels.kd_kl_and_grad(one.leaves[0], one.others[0], TEMPERATURE),
            lambda one: kl(one.leaves[0], *one.others),
        ),
        Loss(
            "kd_kl, standardized",
            _teacher_example,
            lambda one: kernels.kd_kl(one.leaves[0], one.others[0], TEMPERATURE, standardize=True),
            lambda one: kernels.kd_kl_and_grad(one.leaves[0], one.others[0], TEMPERATURE, standardize=True),
            lambda one: kl(_z_scores(one.leaves[0]), _z_scores(one.others[0])),
            least_classes=2,
        ),
        Loss(
            "kd_hinton",
            _labelled_example,
            lambda one: kernels.kd_hinton(one.leaves[0], one.others[0], one.others[1], TEMPERATURE, ALPHA).loss,
            lambda one: _of_loss(
                kernels.kd_hinton_and_grad(one.leaves[0], one.others[0], one.others[1], TEMPERATURE, ALPHA)
            ),
            lambda one: hinton(one.leaves[0], *one.others),
        ),
        *(_divergence(kind) for kind in kinds),
        Loss(
            "kd_dkd",
            _labelled_example,
            lambda one: kernels.kd_dkd(one.leaves[0], one.others[0], one.others[1], TEMPERATURE).loss,
            lambda one: _of_loss(kernels.kd_dkd_and_grad(one.leaves[0], one.others[0], one.others[1], TEMPERATURE)),
            lambda one: dkd(one.leaves[0], *one.others),
            least_classes=2,
        ),
        Loss(
            "kd_topk",
            _topk_example,
            lambda one: kernels.kd_topk(one.leaves[0], one.others[0], one.others[1], TEMPERATURE),
            lambda one: kernels.kd_topk_and_grad(one.leaves[0], one.others[0], one.others[1], TEMPERATURE),
            lambda one: topk(one.leaves[0], *one.others),
        ),
        Loss(
            "linear_kd_kl",
            _linear_example,
            lambda one: kernels.linear_kd_kl(*_heads(one), TEMPERATURE),
            lambda one: kernels.linear_kd_kl_and_grad(*_heads(one), TEMPERATURE),
            lambda one: kl(one.leaves[0] @ one.leaves[1].T, one.others[0] @ one.others[1].T),
            dtypes=(torch.float32, torch.float64),
            exact=False,
        ),
    ]


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """T² · KL(teacher ‖ student), batchmean, as most code has it; Hinton et al. (2015)."""
    log_q, p = functional.log_softmax(student / TEMPERATURE, -1), functional.softmax(teacher / TEMPERATURE, -1)
    return functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2


def kl_of_logs(student: Tensor, teacher: Tensor) -> Tensor:
    """The same, with the logarithms that `kl` takes again given to torch: quicker."""
    log_q, log_p = (functional.log_softmax(x / TEMPERATURE, -1) for x in (student, teacher))
    return functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * TEMPERATURE**2


def hinton(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """(1 - alpha) · cross-entropy + alpha · T² · KL; Hinton et al. (2015)."""
    return (1 - ALPHA) * functional.cross_entropy(student, labels) + ALPHA * kl(student, teacher)


def divergence(student: Tensor, teacher: Tensor, kind: kernels.Divergence) -> Tensor:
    """T² times a divergence of softmax(teacher / T) and softmax(student / T), batchmean; skewed and mixed by beta."""
    p, q = ((x / TEMPERATURE).softmax(-1) for x in (teacher, student))
    match kind:
        case "forward_kl":
            rows = _kl(p, q)
        case "reverse_kl":
            rows = _kl(q, p)
        case "js":
            middle = (p + q) / 2
            rows = (_kl(p, middle) + _kl(q, middle)) / 2
        case "skew_kl":
            rows = _kl(p, 0.1 * p + 0.9 * q)
        case "skew_reverse_kl":
            rows = _kl(q, 0.9 * p + 0.1 * q)
        case "tvd":
            rows = (p - q).abs() / 2
    return rows.sum(-1).mean() * TEMPERATURE**2


def dkd(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """T² · (target term + 8 · non-target term), batchmean; Zhao et al. (2022), eq. 7."""
    target = functional.one_hot(labels, student.shape[-1]).bool()
    p, q = ((x / TEMPERATURE).softmax(-1) for x in (teacher, student))
    p_target, q_target = (x[target] for x in (p, q))
    binary = _kl(torch.stack([p_target, 1 - p_target], -1), torch.stack([q_target, 1 - q_target], -1)).sum(-1)
    p_rest, q_rest = (
        (x[~target].reshape(len(labels), -1) / TEMPERATURE).log_softmax(-1) for x in (teacher, student)
    )  # fmt: skip
    rest = (p_rest.exp() * (p_rest - q_rest)).sum(-1)
    return (binary + 8 * rest).mean() * TEMPERATURE**2


def topk(student: Tensor, values: Tensor, indices: Tensor) -> Tensor:
    """T² · KL from the teacher's softmax over its k listed classes to the student's over all, batchmean."""
    q = functional.log_softmax(student / TEMPERATURE, dim=-1).gather(-1, indices)
    p = functional.log_softmax(values / TEMPERATURE, dim=-1)
    return (p.exp() * (p - q)).sum(-1).mean() * TEMPERATURE**2


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return p * (p.log() - q.log())


def _z_scores(logits: Tensor) -> Tensor:
    return (logits - logits.mean(-1, keepdim=True)) / (logits.std(-1, keepdim=True, correction=0) + 1e-7)


def _divergence(kind: kernels.Divergence) -> Loss:
    return Loss(
        f"kd_divergence, {kind}",
        _teacher_example,
        lambda one: kernels.kd_divergence(one.leaves[0], one.others[0], TEMPERATURE, kind),
        lambda one: kernels.kd_divergence_and_grad(one.leaves[0], one.others[0], TEMPERATURE, kind),
        lambda one: divergence(one.leaves[0], one.others[0], kind),
    )


def _heads(one: Example) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return one.leaves[0], one.leaves[1], one.others[0], one.others[1]


def _of_loss(result: tuple[kernels.HintonLoss | kernels.DkdLoss, Tensor]) -> tuple[Tensor, Tensor]:
    return result[0].loss, result[1]


def _teacher_example(rows: int, classes: int, dtype: torch.dtype, device: str) -> Example:
    student, teacher, _ = _logits(rows, classes, dtype, device)
    return Example((student,), (teacher,))


def _labelled_example(rows: int, classes: int, dtype: torch.dtype, device: str) -> Example:
    student, teacher, labels = _logits(rows, classes, dtype, device)
    return Example((student,), (teacher, labels))


def _topk_example(rows: int, classes: int, dtype: torch.dtype, device: str) -> Example:
    student, teacher, _ = _logits(rows, classes, dtype, device)
    values, indices = teacher.topk(min(TOP_K, classes), dim=-1)
    return Example((student,), (values, indices))


def _linear_example(rows: int, classes: int, dtype: torch.dtype, device: str, width: int = 64) -> Example:
    """Hidden states and the matrices that make logits of about unit size of them."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, rows, width, generator=generator).to(device, dtype)
    weight = torch.randn(2, classes, width, generator=generator).div(width**0.5).to(device, dtype)
    return Example((hidden[0], weight[0]), (hidden[1], weight[1]))


def _logits(rows: int, classes: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(rows, classes, generator=generator).mul(2).to(device, dtype) for _ in range(2))
    labels = torch.randint(classes, (rows,), generator=generator).to(device)
    return student, teacher, labels
