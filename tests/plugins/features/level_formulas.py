"""The formulas of ofd, ab, fsp and reviewkd in plain float64 Python, one number at a time."""

from __future__ import annotations

import math

from feature_formulas import averaged, mean, smaller
from torch import Tensor

Map = list[list[float]]


def values(features: Tensor) -> list[list[tuple[int, float]]]:
    """(channel, number) of each item, in order."""
    return [
        [
            (channel, number)
            for channel, numbers in enumerate(item)
            for number in ([numbers] if isinstance(numbers, float) else [value for line in numbers for value in line])
        ]
        for item in features.tolist()
    ]


def expected_negative(mu: float, sigma: float, steps: int = 200_000) -> float:
    """E[x | x < 0] of a normal x, by the midpoint rule over its last twelve deviations below zero."""
    low = min(mu, 0.0) - 12 * sigma
    top = bottom = 0.0
    for step in range(steps):
        x = low * (1 - (step + 0.5) / steps)
        density = math.exp(-0.5 * ((x - mu) / sigma) ** 2)
        top += x * density
        bottom += density
    return top / bottom


def partial_distance(projected: Tensor, teacher: Tensor, margins: list[float]) -> float:
    total = 0.0
    for mine, its in zip(values(projected), values(teacher), strict=True):
        for (_, s), (channel, value) in zip(mine, its, strict=True):
            t = max(value, margins[channel])
            if not s <= t <= 0:
                total += (t - s) ** 2
    return total / len(projected)


def boundary(projected: Tensor, teacher: Tensor, margin: float) -> float:
    found = []
    for mine, its in zip(values(projected), values(teacher), strict=True):
        for (_, s), (_, t) in zip(mine, its, strict=True):
            found.append(max(0.0, margin - s) ** 2 if t > 0 else max(0.0, margin + s) ** 2)
    return mean(found)


def flow(one: Tensor, other: Tensor) -> list[list[list[float]]]:
    """FSP matrices, (items, C, C')."""
    size, matrices = smaller(one, other), []
    for pair in zip(one.tolist(), other.tolist(), strict=True):
        first, second = ([averaged(channel, *size) for channel in channels] for channels in pair)
        matrices.append(
            [
                [
                    mean([a[y][x] * b[y][x] for y in range(size[0]) for x in range(size[1])])
                    for b in second
                ]
                for a in first
            ]
        )  # fmt: skip
    return matrices


def flow_gap(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> float:
    return mean(
        [
            (a - b) ** 2
            for mine, its in zip(flow(*student), flow(*teacher), strict=True)
            for lines in zip(mine, its, strict=True)
            for a, b in zip(*lines, strict=True)
        ]
    )


def context(student: Tensor, teacher: Tensor) -> float:
    """The squares' means at full size and 4, 2, 1, as far as they are smaller, weighted 1, 1/2, ..."""
    if student.ndim == 2:
        return mean([(a - b) ** 2 for a, b in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)])
    height, width = student.shape[2:]
    sizes = [(height, width), *((level, level) for level in (4, 2, 1) if level < min(height, width))]
    total = weights = 0.0
    for step, size in enumerate(sizes):
        squares = [
            (a - b) ** 2
            for mine, its in zip(student.tolist(), teacher.tolist(), strict=True)
            for one, other in zip(mine, its, strict=True)
            for lines in zip(averaged(one, *size), averaged(other, *size), strict=True)
            for a, b in zip(*lines, strict=True)
        ]
        total += mean(squares) / 2**step
        weights += 1 / 2**step
    return total / weights


def normalized(channels: list[Map], scales: list[float], shifts: list[float]) -> list[Map]:
    """Batch norm whose running mean is 0 and variance 1, as it is evaluated."""
    return [
        [[scale * value / math.sqrt(1 + 1e-5) + shift for value in line] for line in channel]
        for channel, scale, shift in zip(channels, scales, shifts, strict=True)
    ]


def convolved(channels: list[Map], weights: list[list[Map]], biases: list[float]) -> list[Map]:
    """A convolution with zeros around the maps; the size stays."""
    height, width, reach = len(channels[0]), len(channels[0][0]), len(weights[0][0]) // 2

    def at(y: int, x: int, kernel: list[Map]) -> float:
        return sum(
            kernel[c][dy + reach][dx + reach] * channel[y + dy][x + dx]
            for c, channel in enumerate(channels)
            for dy in range(-reach, reach + 1)
            for dx in range(-reach, reach + 1)
            if 0 <= y + dy < height and 0 <= x + dx < width
        )

    return [
        [[at(y, x, kernel) + bias for x in range(width)] for y in range(height)]
        for kernel, bias in zip(weights, biases, strict=True)
    ]


def resized(channels: list[Map], height: int, width: int) -> list[Map]:
    """Averaged down along an axis that shrinks, the nearest position along one that grows."""
    h, w = len(channels[0]), len(channels[0][0])
    found = []
    for channel in channels:
        small = averaged(channel, min(h, height), min(w, width))
        found.append(
            [[small[y * len(small) // height][x * len(small[0]) // width] for x in range(width)] for y in range(height)]
        )
    return found


def attended(level: list[Map], known: list[Map], weights: list[list[Map]], biases: list[float]) -> list[Map]:
    """Both, each times the sigmoid of its attention map at the position."""
    first, second = convolved([*level, *known], weights, biases)
    return [
        [
            [a / (1 + math.exp(-p)) + b / (1 + math.exp(-q)) for a, b, p, q in zip(*rows, strict=True)]
            for rows in zip(one, other, first, second, strict=True)
        ]
        for one, other in zip(level, known, strict=True)
    ]
