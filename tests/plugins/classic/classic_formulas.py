"""The classic methods' formulas in plain Python."""

from __future__ import annotations

import math

from torch import Tensor, nn


def regressed(regressor: nn.Sequential, feature: Tensor, size: tuple[int, ...]) -> list[float]:
    """Of `kdbench.projectors`, in training mode: maps or vectors weighted, normalised by the batch, averaged to a size.

    Args:
        feature: float64, (N, C, H, W) or (N, D).
        size: (H', W') of the teacher's maps, or () for vectors.
    """
    (weighted,) = (layer for layer in regressor if isinstance(layer, (nn.Conv2d, nn.Linear)))
    weights = weighted.weight.flatten(1).tolist()
    maps = feature.flatten(2).mean(2, keepdim=True) if feature.ndim == 4 and not size else feature.flatten(1)
    positions = maps.reshape(*feature.shape[:2], -1).tolist()
    mixed = [
        [[sum(w * c[p] for w, c in zip(row, item, strict=True)) for p in range(len(item[0]))] for row in weights]
        for item in positions
    ]
    for channel in range(len(weights)):
        values = [value for item in mixed for value in item[channel]]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values) + 1e-5)
        for item in mixed:
            item[channel] = [(value - mean) / deviation for value in item[channel]]
    if not size:
        return [value for item in mixed for channel in item for value in channel]
    height, width = feature.shape[2:]
    rows, columns = parts(height, size[0]), parts(width, size[1])
    return [
        sum(channel[y * width + x] for y in ys for x in xs) / (len(ys) * len(xs))
        for item in mixed for channel in item for ys in rows for xs in columns
    ]  # fmt: skip


def parts(side: int, wanted: int) -> list[range]:
    """The pixels of a side that each of the wanted ones is the mean of."""
    return [range(n * side // wanted, -(-(n + 1) * side // wanted)) for n in range(wanted)]
