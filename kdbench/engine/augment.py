"""Augmentations of a batch, by name; each item draws its own, and a generator decides them all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from kdbench.errors import InvalidData, InvalidParameter
from kdbench.names import did_you_mean

Augmentation = Callable[[Tensor, Generator], Tensor]

NOISE_DEVIATION = 0.1
CROP_AREA, CROP_ASPECT, CROP_DRAWS = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of `resized-crop`, as is usual on ImageNet: share of the area, width by height, and draws until one fits."""


def augmentation(names: tuple[str, ...]) -> Augmentation:
    """The named augmentations, applied in order, as one function of a batch (N, ...) and a CPU generator.

    flip: left-right, half of the items. crop: zero-padded by an eighth of the height, then cut out at random.
    resized-crop: of 8 to 100 % of the area and of 3:4 to 4:3, at random, scaled to the image's size (Szegedy et al.,
    2015). shift: moved by up to a tenth of each side. cutout: a square of a quarter of the shorter side is zero
    (DeVries and Taylor, 2017). noise: Gaussian, deviation 0.1. All but noise need images (N, C, H, W). The result has
    the batch's shape, dtype and device; the batch is left as it is.

    Raises: InvalidParameter for an unknown name; when applied, InvalidData for a batch that does not hold images.
    """
    for name in names:
        if name not in _AUGMENTATIONS:
            raise InvalidParameter(
                f"unknown augmentation {name!r}",
                did_you_mean(name, _AUGMENTATIONS),
                f"known: {', '.join(_AUGMENTATIONS)}",
            )

    def apply(batch: Tensor, generator: Generator) -> Tensor:
        for name in names:
            if name != "noise" and batch.ndim != 4:
                raise InvalidData(
                    f"augmentation {name!r} needs images",
                    f"the items have shape {tuple(batch.shape[1:])}, not (C, H, W)",
                    "use a recipe without it: --set recipe.augment=",
                )
            batch = _AUGMENTATIONS[name](batch, generator)
        return batch

    return apply


def _flip(batch: Tensor, generator: Generator) -> Tensor:
    flipped = torch.rand(len(batch), generator=generator) < 0.5
    return torch.where(flipped.to(batch.device)[:, None, None, None], batch.flip(-1), batch)


def _crop(batch: Tensor, generator: Generator) -> Tensor:
    pad = max(1, batch.shape[-2] // 8)
    return _moved(batch, pad, pad, generator)


def _shift(batch: Tensor, generator: Generator) -> Tensor:
    height, width = batch.shape[-2:]
    return _moved(batch, max(1, height // 10), max(1, width // 10), generator)


def _moved(batch: Tensor, rows: int, columns: int, generator: Generator) -> Tensor:
    """Each item moved by up to that many rows and columns, zeros coming in: a random crop of the padded item."""
    items, _, height, width = batch.shape
    top = torch.randint(2 * rows + 1, (items, 1), generator=generator)[:, 0].to(batch.device)
    left = torch.randint(2 * columns + 1, (items, 1), generator=generator)[:, 0].to(batch.device)
    padded = functional.pad(batch, (columns, columns, rows, rows))
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)  # every crop of every item, none of them copied
    return crops[torch.arange(items, device=batch.device), :, top, left]


def _resized_crop(batch: Tensor, generator: Generator) -> Tensor:
    """Bilinear, with nothing read from beyond the crop: as if it were cut out and then scaled."""
    top, left, height, width = (side.to(batch.device) for side in _boxes(batch, generator))
    rows = _centres(top, height, batch.shape[-2], batch.dtype)
    columns = _centres(left, width, batch.shape[-1], batch.dtype)
    shape = (len(batch), *batch.shape[-2:])
    grid = torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), -1)
    return functional.grid_sample(batch, grid, align_corners=False)


def _boxes(batch: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width of each item's crop in pixels, int64, shape (N,).

    The first of a few draws of area and aspect that fits into the image; where none does, the largest centred one.
    """
    items, _, full_height, full_width = batch.shape
    draws = torch.rand((2, items, CROP_DRAWS), generator=generator)
    area = (CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * draws[0]) * full_height * full_width
    narrow, wide = CROP_ASPECT
    aspect = narrow * (wide / narrow) ** draws[1]  # uniform in the logarithm
    heights, widths = (area / aspect).sqrt().round().long(), (area * aspect).sqrt().round().long()
    fits = (heights >= 1) & (heights <= full_height) & (widths >= 1) & (widths <= full_width)
    first = fits.int().argmax(1, keepdim=True)
    largest = min(full_height, round(full_width / narrow)), min(full_width, round(full_height * wide))
    any_fits = fits.any(1)
    height = torch.where(any_fits, heights.gather(1, first)[:, 0], largest[0])
    width = torch.where(any_fits, widths.gather(1, first)[:, 0], largest[1])
    rows, columns = full_height - height, full_width - width
    place = torch.rand((2, items), generator=generator)
    top = torch.where(any_fits, (place[0] * (rows + 1)).long(), rows // 2)
    left = torch.where(any_fits, (place[1] * (columns + 1)).long(), columns // 2)
    return top, left, height, width


def _centres(start: Tensor, length: Tensor, full: int, dtype: torch.dtype) -> Tensor:
    """Where along a side of `full` pixels each of `full` pixels of the scaled crop is read, (N, full) in [-1, 1]."""
    place = (torch.arange(full, dtype=dtype, device=start.device) + 0.5) / full
    inside = (place * length[:, None] - 0.5).clamp_min(0).minimum(length[:, None] - 1)
    return (2 * (start[:, None] + inside) + 1) / full - 1


def _cutout(batch: Tensor, generator: Generator) -> Tensor:
    """The square's centre is uniform over the image, so that part of it may lie outside (their section 3.2)."""
    items, _, height, width = batch.shape
    side = max(1, min(height, width) // 4)
    row = torch.randint(height, (items, 1), generator=generator) - side // 2
    column = torch.randint(width, (items, 1), generator=generator) - side // 2
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= row) & (rows < row + side)
    inside_columns = (columns >= column) & (columns < column + side)
    hole = inside_rows[:, :, None] & inside_columns[:, None, :]
    return batch.masked_fill(hole.to(batch.device)[:, None], 0)


def _noise(batch: Tensor, generator: Generator) -> Tensor:
    return batch + NOISE_DEVIATION * torch.randn(batch.shape, generator=generator).to(batch)


_AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": _flip,
    "crop": _crop,
    "resized-crop": _resized_crop,
    "shift": _shift,
    "cutout": _cutout,
    "noise": _noise,
}
