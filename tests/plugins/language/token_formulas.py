"""Divergences between next-token distributions in plain float64 loops, token by token."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

Row = list[float]


def probabilities(logits: Row, temperature: float = 1.0) -> Row:
    top = max(logits)
    raised = [math.exp((z - top) / temperature) for z in logits]
    return [value / sum(raised) for value in raised]


def kl(p: Row, q: Row) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def mixture(p: Row, q: Row, share: float) -> Row:
    """share · p + (1 − share) · q."""
    return [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]


def over_tokens(
    student: Tensor, teacher: Tensor, labels: Tensor, divergence: Callable[[Row, Row], float], temperature: float = 1.0
) -> float:
    """The mean of divergence(p_teacher, p_student) over the tokens not labelled -100."""
    found = [
        divergence(probabilities(other, temperature), probabilities(one, temperature))
        for one, other, label in zip(
            student.reshape(-1, student.shape[-1]).tolist(), teacher.reshape(-1, teacher.shape[-1]).tolist(),
            labels.flatten().tolist(), strict=True,
        )
        if label != -100
    ]  # fmt: skip
    return sum(found) / len(found)


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    found = [
        -math.log(probabilities(row)[label])
        for row, label in zip(logits.reshape(-1, logits.shape[-1]).tolist(), labels.flatten().tolist(), strict=True)
        if label != -100
    ]
    return sum(found) / len(found)
