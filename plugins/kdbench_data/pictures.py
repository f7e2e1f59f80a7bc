"""Pictures of any size and mode as one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

import kdbench
from kdbench_data import memory
from kdbench_data.decoding import Opened, decoded, stamps, with_size


def stack(dataset: str, pictures: Sequence[Opened], size: int | None, made_from: Callable[[], Any]) -> np.ndarray:
    """The pictures as uint8, (N, 1, H, W) where all are grey, otherwise (N, 3, H, W).

    With `size` each is scaled so that its short side has that many pixels (antialiased, bilinear) and the middle square
    is kept, as in the usual ImageNet preparation. Where as many as the first do not fit into memory, they are decoded
    into a file of the data cache, once for what `made_from()` gives, as JSON has it: what decides them all.

    Raises: InvalidData for a damaged picture, or where sizes differ; FetchError where the disk has no room for them.
    """
    if not pictures:
        raise kdbench.InvalidData(f"dataset {dataset!r} has no pictures")
    read = partial(_read, dataset, size)
    first = read(*pictures[0])
    if not memory.fits(len(pictures), first.size):
        shape = first.shape[0], first.shape[1]
        return decoded(dataset, pictures, read, shape, [size, made_from()], len(pictures) * first.size)
    arrays = [first, *(read(*picture) for picture in pictures[1:])]
    sizes = sorted({array.shape[:2] for array in arrays})
    if len(sizes) > 1:
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: its pictures differ in size",
            f"from {sizes[0][1]}x{sizes[0][0]} to {sizes[-1][1]}x{sizes[-1][0]} pixels",
            f"name a size: {with_size(dataset)}",
        )
    if all(array.ndim == 2 for array in arrays):
        return np.stack(arrays)[:, None]
    colored = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2) for array in arrays]
    return np.ascontiguousarray(np.stack(colored).transpose(0, 3, 1, 2))


def of_files(dataset: str, files: Sequence[str], size: int | None) -> np.ndarray:
    """`stack` of files, which are decoded again where one has another name, size or time. Raises: as `stack`."""
    opened = [(file, partial(Image.open, file)) for file in files]
    return stack(dataset, opened, size, lambda: stamps(files))


def _read(dataset: str, size: int | None, place: str, opened: Callable[[], Image.Image]) -> np.ndarray:
    """One picture, (H, W) if it is grey, otherwise (H, W, 3)."""
    try:
        with opened() as picture:
            picture = picture.convert("L" if picture.mode in {"1", "L", "LA", "I;16"} else "RGB")
            return np.asarray(picture if size is None else _square(picture, size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: {place} is not a picture that can be read",
            str(error),
            "remove it or fetch it again",
        ) from error


def _square(picture: Image.Image, size: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
