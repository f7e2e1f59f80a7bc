"""Formulas that many papers share, in plain Python over rows of logits: what the families' references are built on."""

from __future__ import annotations

import math

Row = list[float]


def softmax(row: Row, temperature: float = 1.0) -> Row:
    top = max(row)
    powers = [math.exp((value - top) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def kl(p: Row, q: Row) -> float:
    """Of distributions."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def cross_entropy(row: Row, label: int) -> float:
    return -math.log(softmax(row)[label])


def mean(values: Row) -> float:
    return sum(values) / len(values)


def mean_cross_entropy(rows: list[Row], labels: list[int]) -> float:
    return mean([cross_entropy(row, label) for row, label in zip(rows, labels, strict=True)])


def soft_targets(student: list[Row], teacher: list[Row], t: float = 1.0) -> float:
    """Mean over rows of T² · KL(p_teacher ‖ p_student)."""
    return t * t * mean([kl(softmax(b, t), softmax(a, t)) for a, b in zip(student, teacher, strict=True)])
