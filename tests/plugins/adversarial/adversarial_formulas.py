"""The papers' formulas in plain float64 Python, one item at a time; slopes by central differences, not by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Vector = list[float]
STEP = 1e-5


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def softmax(logits: Vector, temperature: float = 1.0) -> Vector:
    top = max(logits)
    exponentials = [math.exp((value - top) / temperature) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


def cross_entropy(logits: Vector, label: int) -> float:
    return -math.log(softmax(logits)[label])


def kl(teacher: Vector, student: Vector, temperature: float) -> float:
    """T² · KL(p_t^T ‖ p_s^T)."""
    pairs = zip(softmax(teacher, temperature), softmax(student, temperature), strict=True)
    return temperature**2 * sum(p * math.log(p / q) for p, q in pairs)


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def slope(of: Callable[[Tensor], float], at: Tensor) -> Tensor:
    found = torch.zeros(at.numel(), dtype=torch.float64)
    for place in range(at.numel()):
        up, down = at.clone().flatten(), at.clone().flatten()
        up[place] += STEP
        down[place] -= STEP
        found[place] = (of(up.view_as(at)) - of(down.view_as(at))) / (2 * STEP)
    return found.view_as(at)


def logits(model: Callable[[Tensor], Tensor], item: Tensor) -> Vector:
    with torch.no_grad():
        values: Vector = model(item[None])[0].tolist()
    return values


def pgd(
    of: Callable[[Tensor], float], start: Tensor, noise: Tensor, *, eps: float, step_size: float, steps: int
) -> Tensor:
    """One item's way up, coordinate by coordinate."""
    at = (start + noise).clone()
    for _ in range(steps):
        signs = slope(of, at).sign()
        for place in range(at.numel()):
            moved = float(at.view(-1)[place] + step_size * signs.view(-1)[place])
            origin = float(start.view(-1)[place])
            at.view(-1)[place] = min(max(moved, origin - eps), origin + eps)
    return at


def to_the_boundary(
    teacher: Callable[[Tensor], Tensor], start: Tensor, label: int, towards: int,
    *, steps: int, rate: float, margin: float, reach: float,
) -> Tensor:  # fmt: skip
    """One item's way over the teacher's boundary between two classes."""

    def gap(item: Tensor) -> float:
        values = logits(teacher, item)
        return values[label] - values[towards]

    at = start.clone()
    for _ in range(steps):
        if gap(at) <= 0:
            break
        direction = slope(gap, at)
        length = float((direction**2).sum())
        at = at - rate * (gap(at) + margin) / length * direction
        at = torch.minimum(torch.maximum(at, start - reach), start + reach)
    return at
