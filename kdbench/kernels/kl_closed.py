"""KL divergence with its gradient in closed form: fewer passes and less memory than through autograd."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor


def kl_and_grad(
    student: Tensor, teacher: Tensor, temperature: float | Tensor, factor: float | Tensor, *, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Row losses factor · KL(softmax(teacher / T) ‖ softmax(student / T)), (N,), and a gradient, (N, V).

    Args:
        student: logits (N, V), float32 or float64; their memory becomes the gradient.
        teacher: logits (N, V), of the same dtype; not changed.
        temperature, factor: a number, or one value per row, (N, 1). A row whose factor is 0 is 0, whatever it holds.
        weight: the gradient is that of the rows' sum times this.
    """
    log_p = (teacher - teacher.amax(-1, keepdim=True)).div_(temperature)
    log_q = student.sub_(student.amax(-1, keepdim=True)).div_(temperature)
    difference = (log_p - log_q).masked_fill_(log_p == -inf, 0)
    p, q = log_p.exp_(), log_q.exp_()
    p_total, q_total = p.sum(-1, keepdim=True), q.sum(-1, keepdim=True)
    p.div_(p_total)
    rows = difference.mul_(p).sum(-1, keepdim=True)
    del difference
    rows += (q_total / p_total).log_()
    slope = torch.where(rows.isnan(), rows, 1.0) * (weight * factor / temperature)
    grad = q.mul_(slope / q_total).sub_(p.mul_(slope))
    rows *= factor
    if isinstance(factor, Tensor):
        unread = factor == 0
        rows.masked_fill_(unread, 0)
        grad.masked_fill_(unread, 0)
    return rows.squeeze(1), grad
