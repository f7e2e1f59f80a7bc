"""Divergences between next-token distributions in plain float64 loops, token by token."""

from __future__ import annotations

from collections.abc import Callable

from row_formulas import Row, softmax
from row_formulas import cross_entropy as of_row
from torch import Tensor


def mixture(p: Row, q: Row, share: float) -> Row:
    """share · p + (1 − share) · q."""
    return [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]


def over_tokens(
    student: Tensor, teacher: Tensor, labels: Tensor, divergence: Callable[[Row, Row], float], temperature: float = 1.0
) -> float:
    """The mean of divergence(p_teacher, p_student) over the tokens not labelled -100."""
    found = [
        divergence(softmax(other, temperature), softmax(one, temperature))
        for one, other, label in zip(
            student.reshape(-1, student.shape[-1]).tolist(), teacher.reshape(-1, teacher.shape[-1]).tolist(),
            labels.flatten().tolist(), strict=True,
        )
        if label != -100
    ]  # fmt: skip
    return sum(found) / len(found)


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    found = [
        of_row(row, label)
        for row, label in zip(logits.reshape(-1, logits.shape[-1]).tolist(), labels.flatten().tolist(), strict=True)
        if label != -100
    ]
    return sum(found) / len(found)
