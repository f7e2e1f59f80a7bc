"""The papers' formulas in plain float64 Python, one number at a time."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

from torch import Tensor

Vector = list[float]


def rows(features: Tensor) -> list[Vector]:
    return features.flatten(1).tolist()


def dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def unit(vector: Vector) -> Vector:
    length = math.sqrt(dot(vector, vector))
    return [value / length if length else 0.0 for value in vector]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def averaged(picture: list[Vector], height: int, width: int) -> list[Vector]:
    """Down to height × width: cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉."""

    def cells(size: int, count: int) -> list[range]:
        return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]

    return [
        [mean([picture[y][x] for y in down for x in across]) for across in cells(len(picture[0]), width)]
        for down in cells(len(picture), height)
    ]


def smaller(student: Tensor, teacher: Tensor) -> tuple[int, int]:
    return min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])


def attention(student: Tensor, teacher: Tensor) -> float:
    size, squares = smaller(student, teacher), []
    for pair in zip(student.tolist(), teacher.tolist(), strict=True):
        maps = []
        for channels in pair:
            energy = [
                [mean([channel[y][x] ** 2 for channel in channels]) for x in range(len(channels[0][0]))]
                for y in range(len(channels[0]))
            ]
            maps.append(unit([value for line in averaged(energy, *size) for value in line]))
        squares += [(a - b) ** 2 for a, b in zip(*maps, strict=True)]
    return mean(squares)


def similarity(student: Tensor, teacher: Tensor) -> float:
    grams = [[unit([dot(one, other) for other in items]) for one in items] for items in map(rows, (student, teacher))]
    return mean(
        [(a - b) ** 2 for lines in zip(*grams, strict=True) for a, b in zip(*lines, strict=True)],
    )


def huber(one: float, other: float) -> float:
    gap = abs(one - other)
    return 0.5 * gap**2 if gap <= 1 else gap - 0.5


def relational_distance(student: Tensor, teacher: Tensor) -> float:
    potentials = []
    for items in (rows(student), rows(teacher)):
        distances = [math.dist(one, other) for one, other in permutations(items, 2)]
        mu = mean(distances) if distances else 0.0
        potentials.append([value / mu if mu else 0.0 for value in distances])
    return mean([huber(*pair) for pair in zip(*potentials, strict=True)] or [0.0])


def relational_angle(student: Tensor, teacher: Tensor) -> float:
    potentials = []
    for items in (rows(student), rows(teacher)):
        angles = []
        for i, j, k in permutations(items, 3):
            first = unit([a - b for a, b in zip(i, j, strict=True)])
            second = unit([a - b for a, b in zip(k, j, strict=True)])
            angles.append(dot(first, second))
        potentials.append(angles)
    return mean([huber(*pair) for pair in zip(*potentials, strict=True)] or [0.0])


def neighbourhoods(student: Tensor, teacher: Tensor, floor: float) -> float:
    distributions = []
    for items in (rows(student), rows(teacher)):
        directions = [unit(item) for item in items]
        lines = []
        for i, one in enumerate(directions):
            kernel = {j: max(floor, 0.5 * (1 + dot(one, other))) for j, other in enumerate(directions) if j != i}
            lines.append([value / sum(kernel.values()) for value in kernel.values()])
        distributions.append(lines)
    total = 0.0
    for mine, his in zip(*distributions, strict=True):
        total += sum(t * math.log(t / s) for s, t in zip(mine, his, strict=True))
    return total / len(student) ** 2


def likelihood(guess: Tensor, teacher: Tensor, variances: Vector) -> float:
    """½ log σ² + (t − μ)² / 2σ² on average; variances by channel."""
    values = []
    for guesses, truths in zip(guess.tolist(), teacher.tolist(), strict=True):
        for mu, truth, variance in zip(guesses, truths, variances, strict=True):
            pairs = (
                [(mu, truth)]
                if isinstance(mu, float)
                else [pair for lines in zip(mu, truth, strict=True) for pair in zip(*lines, strict=True)]
            )
            values += [0.5 * math.log(variance) + (b - a) ** 2 / (2 * variance) for a, b in pairs]
    return mean(values)


def selectivity(student: Tensor, teacher: Tensor) -> float:
    size, items = smaller(student, teacher), []
    for pair in zip(student.tolist(), teacher.tolist(), strict=True):
        one, other = (
            [unit([value for line in averaged(channel, *size) for value in line]) for channel in channels]
            for channels in pair
        )

        def kernel(first: list[Vector], second: list[Vector]) -> float:
            return mean([dot(a, b) ** 2 for a in first for b in second])

        items.append(kernel(one, one) + kernel(other, other) - 2 * kernel(one, other))
    return mean(items)


def correlation(student: Tensor, teacher: Tensor, gamma: float, order: int) -> float:
    tables = []
    for items in (rows(student), rows(teacher)):
        directions = [unit(item) for item in items]
        tables.append(
            [
                sum(
                    math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * dot(one, other) ** p
                    for p in range(order + 1)
                )
                for one in directions
                for other in directions
            ]
        )
    return mean([(a - b) ** 2 for a, b in zip(*tables, strict=True)])


def mean_exponential(size: int, temperature: float, steps: int = 200_000) -> float:
    """Mean of e^(cos θ / τ) over uniform directions in `size` > 1 dimensions: density ∝ sin(θ)^(size − 2)."""
    top = bottom = 0.0
    for left, right in pairwise(math.pi * step / steps for step in range(steps + 1)):
        angle = (left + right) / 2
        density = math.sin(angle) ** (size - 2)
        top += density * math.exp(math.cos(angle) / temperature)
        bottom += density
    return top / bottom


def contrast(
    anchors: list[Vector], partners: list[Vector], pool: list[Vector], labels: list[int], pool_labels: list[int],
    temperature: float, z: float,
) -> float:  # fmt: skip
    """−log h(positive) − Σ log(1 − h(negative)), h = e^x / (e^x + N z), on average over the anchors."""
    values = []
    for anchor, partner, label in zip(anchors, partners, labels, strict=True):
        negatives = [other for other, its in zip(pool, pool_labels, strict=True) if its != label]
        if not negatives:
            values.append(0.0)
            continue

        def h(other: Vector) -> float:
            power = math.exp(dot(anchor, other) / temperature)  # noqa: B023 - called within the same turn
            return power / (power + len(negatives) * z)  # noqa: B023

        values.append(-math.log(h(partner)) - sum(math.log(1 - h(other)) for other in negatives))
    return mean(values)


def factor_gap(student: Tensor, teacher: Tensor) -> float:
    """Mean |a − b| of two factors (N, C, H, W), each at unit length over the whole item."""
    size, gaps = smaller(student, teacher), []
    for pair in zip(student.tolist(), teacher.tolist(), strict=True):
        one, other = (
            unit([value for channel in channels for line in averaged(channel, *size) for value in line])
            for channels in pair
        )
        gaps += [abs(a - b) for a, b in zip(one, other, strict=True)]
    return mean(gaps)
