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


def augmentation(names: tuple[str, ...]) -> Augmentation:
    """The named augmentations, applied in order, as one function of a batch (N, ...) and a CPU generator.

    flip: left-right, half of the items. crop: zero-padded by an eighth of the height, then cut out at random.
    shift: moved by up to a tenth of each side. cutout: a square of a quarter of the shorter side is zero (DeVries and
    Taylor, 2017). noise: Gaussian, deviation 0.1. All but noise need images (N, C, H, W). The result has the batch's
    shape, dtype and device; the batch is left as it is.

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
    "shift": _shift,
    "cutout": _cutout,
    "noise": _noise,
}
