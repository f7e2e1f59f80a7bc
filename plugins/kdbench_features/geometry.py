"""What the feature methods share: flat, unit-length, equally sized features, without NaN at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-12


def flat(features: Tensor) -> Tensor:
    """One row an item: (N, ...) to (N, D)."""
    return features.flatten(1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., D) at length 1; a zero vector stays zero and passes no gradient."""
    length = vectors.norm(dim=-1, keepdim=True)
    return (vectors / length.clamp_min(TINY)).masked_fill(length <= TINY, 0)


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, H, W), both averaged down to the smaller height and the smaller width of the two."""
    size = tuple(min(pair) for pair in zip(one.shape[2:], other.shape[2:], strict=True))
    return _pooled(one, size), _pooled(other, size)


def resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (N, C, H, W) of another size: averaged where they shrink, by the nearest position where they grow."""
    from torch.nn.functional import interpolate

    maps = _pooled(maps, tuple(min(pair) for pair in zip(maps.shape[2:], size, strict=True)))
    (height, width), (rows, columns) = maps.shape[2:], size
    if (height, width) == size:
        return maps
    if rows % height == 0 and columns % width == 0:  # the same repeats, deterministic on CUDA too
        down, across = rows // height, columns // width
        return maps[:, :, :, None, :, None].expand(-1, -1, -1, down, -1, across).reshape(*maps.shape[:2], *size)
    return interpolate(maps, size)


def _pooled(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

    (height, width), (rows, columns) = maps.shape[2:], size
    if (height, width) == size:
        return maps
    if height % rows == 0 and width % columns == 0:  # the same averages, deterministic on CUDA too
        return avg_pool2d(maps, (height // rows, width // columns))
    return adaptive_avg_pool2d(maps, size)
