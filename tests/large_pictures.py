"""Pictures in ./pictures, read with ample memory or with next to none; on the command line, large_pictures:NAME."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import kdbench
from kdbench import preparation
from kdbench_data import folders, memory

ITEMS, SIDE = 120, 10


def make(directory: Path) -> None:
    """Of two classes: bright above, or bright below."""
    stream = np.random.default_rng(0)
    for number in range(ITEMS):
        array = stream.integers(0, 150, (SIDE, SIDE, 3), dtype=np.uint8)
        array[slice(None, SIDE // 2) if number % 2 else slice(SIDE // 2, None)] += 80
        file = directory / "pictures" / ("below", "above")[number % 2] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(file)


def in_memory() -> kdbench.Data:
    memory.available_bytes = lambda: 10**9
    return folders.image_folder("pictures")


def on_disk() -> kdbench.Data:
    memory.available_bytes = lambda: 10**3
    preparation.FIRST_SECONDS = 0.0  # so few are decoded in less
    return folders.image_folder("pictures")
