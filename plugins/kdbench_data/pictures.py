"""Pictures of any size and mode as one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

import kdbench
from kdbench_data import memory

Opened = tuple[str, Callable[[], Image.Image]]
"""Where a picture is, for messages, and what opens it."""


def stack(dataset: str, pictures: Sequence[Opened], size: int | None) -> np.ndarray:
    """The pictures as uint8, (N, 1, H, W) where all are grey, otherwise (N, 3, H, W).

    With `size` each is scaled so that its short side has that many pixels (antialiased, bilinear) and the middle square
    is kept, as in the usual ImageNet preparation. Raises: InvalidData for a damaged picture, where sizes differ, and,
    before the second is read, where as many as these do not fit into memory.
    """
    if not pictures:
        raise kdbench.InvalidData(f"dataset {dataset!r} has no pictures")
    first = _read(dataset, *pictures[0], size)
    memory.check_room(dataset, len(pictures), first.size, f"name a smaller size: {_with_size(dataset)}")
    arrays = [first, *(_read(dataset, place, opened, size) for place, opened in pictures[1:])]
    sizes = sorted({array.shape[:2] for array in arrays})
    if len(sizes) > 1:
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: its pictures differ in size",
            f"from {sizes[0][1]}x{sizes[0][0]} to {sizes[-1][1]}x{sizes[-1][0]} pixels",
            f"name a size: {_with_size(dataset)}",
        )
    if all(array.ndim == 2 for array in arrays):
        return np.stack(arrays)[:, None]
    colored = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2) for array in arrays]
    return np.ascontiguousarray(np.stack(colored).transpose(0, 3, 1, 2))


def _with_size(dataset: str) -> str:
    return f"'{dataset}{'&' if '?' in dataset else '?'}size=32'"


def _read(dataset: str, place: str, opened: Callable[[], Image.Image], size: int | None) -> np.ndarray:
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
