"""The papers' formulas in plain float64 Python; derivatives by central differences, so not by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from row_formulas import softmax
from torch import Tensor

Vector = list[float]
STEP = 1e-5


def derivatives(of: Callable[[Tensor], float], at: Tensor) -> Vector:
    """The gradient of a number at one item, flat."""
    found = []
    for place in range(at.numel()):
        up, down = at.clone().flatten(), at.clone().flatten()
        up[place] += STEP
        down[place] -= STEP
        found.append((of(up.view_as(at)) - of(down.view_as(at))) / (2 * STEP))
    return found


def unit(vector: Vector) -> Vector:
    length = math.sqrt(sum(value**2 for value in vector))
    return [value / length if length > 1e-9 else 0.0 for value in vector]


def squared_gap(one: Vector, other: Vector) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def logit(model: Callable[[Tensor], Tensor], number: int) -> Callable[[Tensor], float]:
    return lambda item: model(item[None])[0, number].item()


def jacobian(student, teacher, inputs: Tensor, classes: list[int]) -> float:
    return mean(
        [
            squared_gap(*(unit(derivatives(logit(model, c), item)) for model in (student, teacher)))
            for item, c in zip(inputs, classes, strict=True)
        ]
    )


def answers(of: str, logits: Vector) -> Vector:
    if of == "logits":
        return logits
    probabilities = softmax(logits)
    return probabilities if of == "probabilities" else [math.log(p) for p in probabilities]


def sobolev(student, teacher, inputs: Tensor, of: str, directions: list[Tensor]) -> float:
    gaps = []
    for each in directions:
        for item, direction in zip(inputs, each.tolist(), strict=True):
            length = math.sqrt(sum(value**2 for value in direction))

            def projected(model, direction=direction, length=length):
                def number(at: Tensor) -> float:
                    values = answers(of, model(at[None])[0].tolist())
                    return sum(v * f for v, f in zip(direction, values, strict=True)) / length

                return number

            gaps.append(squared_gap(*(derivatives(projected(model), item) for model in (student, teacher))))
    return mean(gaps)


def pooled(picture: list[Vector], height: int, width: int) -> list[Vector]:
    """Down to height × width: cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉."""

    def cells(size: int, count: int) -> list[range]:
        return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]

    return [
        [mean([picture[y][x] for y in down for x in across]) for across in cells(len(picture[0]), width)]
        for down in cells(len(picture), height)
    ]


def attention(upper, maps: Tensor, number: int) -> list[Vector]:
    """Grad-CAM of one item's maps (C, H, W)."""
    channels, height, width = maps.shape
    slopes = torch.tensor(derivatives(logit(upper, number), maps)).view(channels, height, width).tolist()
    shares = [mean([value for line in channel for value in line]) for channel in slopes]
    values = maps.tolist()
    return [
        [max(0.0, sum(shares[k] * values[k][y][x] for k in range(channels))) for x in range(width)]
        for y in range(height)
    ]


def lwm(uppers, maps: tuple[Tensor, Tensor], classes: list[int], power: int) -> float:
    height, width = (min(size) for size in zip(maps[0].shape[2:], maps[1].shape[2:], strict=True))
    gaps = []
    for one, other, c in zip(*maps, classes, strict=True):
        pictures = [attention(upper, each, c) for upper, each in zip(uppers, (one, other), strict=True)]
        flat = [unit([v for line in pooled(picture, height, width) for v in line]) for picture in pictures]
        gaps.append(sum(abs(a - b) ** power for a, b in zip(*flat, strict=True)))
    return mean(gaps)


def burden(upper, feature: Tensor, label: int) -> Tensor:
    """∂CE/∂f of one item, of the feature's shape."""

    def loss(at: Tensor) -> float:
        return -math.log(softmax(upper(at[None])[0].tolist())[label])

    return torch.tensor(derivatives(loss, feature), dtype=torch.float64).view_as(feature)


def alignment(uppers, features: tuple[Tensor, Tensor], labels: list[int], weight: Tensor | None) -> float:
    gaps = []
    for one, other, label in zip(*features, labels, strict=True):
        both = [burden(upper, each, label) for upper, each in zip(uppers, (one, other), strict=True)]
        if both[0].ndim == both[1].ndim == 3:
            height, width = (min(size) for size in zip(both[0].shape[1:], both[1].shape[1:], strict=True))
            pictures = [[pooled(channel, height, width) for channel in each.tolist()] for each in both]
        else:
            lists = [each.tolist() for each in both]
            pictures = [
                [
                    [[sum(sum(line) for line in channel)]] if isinstance(channel, list) else [[channel]]
                    for channel in each
                ]
                for each in lists
            ]
        if weight is not None:
            rows, source = weight.tolist(), pictures[0]
            pictures[0] = [
                [[sum(row[k] * source[k][y][x] for k in range(len(source))) for x in range(len(source[0][0]))]
                 for y in range(len(source[0]))]
                for row in rows
            ]  # fmt: skip
        flat = [unit([v for channel in each for line in channel for v in line]) for each in pictures]
        gaps.append(squared_gap(*flat))
    return mean(gaps)
