"""Softmax at a temperature, and KL divergence of two, that keep their values and derivatives where classes are masked.

Probabilities are exponentials over their sum, and logarithms of sums are taken of ratios: a log-softmax rounded to
float32 is off by half a unit in the last place of its own size, of which a small divergence sees much.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

STANDARD_EPSILON = 1e-7


class Softmax(NamedTuple):
    """The softmax of rows (N, V): exps / total.

    `shifted`: the logits less their largest, over the temperature; `exps`: their exponentials; `total` (N, 1): the sum.
    """

    shifted: Tensor
    exps: Tensor
    total: Tensor

    @property
    def probs(self) -> Tensor:
        """Probabilities (N, V)."""
        return self.exps / self.total

    @property
    def log_probs(self) -> Tensor:
        """Log-probabilities (N, V)."""
        return self.shifted - self.total.log()


def softmax(logits: Tensor, temperature: float = 1.0, row_temperature: Tensor | None = None) -> Softmax:
    """The softmax of logits (N, V) over a temperature, or over one for each row (N,).

    The largest logit is subtracted before the division, so that rounding is relative to the difference.
    """
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    if row_temperature is not None:
        shifted = _divided_by_rows(shifted, row_temperature.unsqueeze(1))
    elif temperature != 1:
        shifted = shifted / temperature
    exps = shifted.exp()
    return Softmax(shifted, exps, exps.sum(-1, keepdim=True))


def kl(p: Softmax, q: Softmax) -> Tensor:
    """KL(p ‖ q) of each row, (N,)."""
    probs = p.probs
    return terms(probs, p.shifted, q.shifted).sum(-1) + (q.total / p.total).log().squeeze(1)


def kl_of_given(p: Tensor, log_p: Tensor, q: Softmax) -> Tensor:
    """Σ p (log p − log q) of each row, (N,), for probabilities as they are given, which need not sum to 1."""
    return terms(p, log_p, q.shifted).sum(-1) + (p.sum(-1, keepdim=True) * q.total.log()).squeeze(1)


def terms(p: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """Elementwise p (log p − log q); 0 where log p is -inf, whatever q is."""
    return p * (log_p - log_q).masked_fill_(log_p == -inf, 0)


def log_of(p: Tensor) -> Tensor:
    """The logarithm of probabilities: -inf for 0, with a derivative of 0 there."""
    zero = p == 0
    return p.masked_fill(zero, 1).log().masked_fill(zero, -inf)


def z_scores(x: Tensor) -> Tensor:
    """Rows with mean 0 and population deviation 1 (Sun et al., 2024, eq. 9); a constant row becomes 0."""
    deviation, mean = torch.std_mean(x, -1, correction=0, keepdim=True)
    return (x - mean) / (deviation + STANDARD_EPSILON)


def _divided_by_rows(x: Tensor, temperature: Tensor) -> Tensor:
    if not temperature.requires_grad:
        return x / temperature
    masked = x == -inf  # -inf / T has no derivative by T
    return torch.where(masked, x, x.masked_fill(masked, 0) / temperature)
