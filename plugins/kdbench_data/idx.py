"""MNIST's file format (idx), and the two datasets that come in it."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

import kdbench
from kdbench_data import FASHION_MNIST, MNIST, places

ARTICLES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DIGITS = tuple(map(str, range(10)))
_PREFIXES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = 8


def fashion_mnist() -> kdbench.Data:
    """Zalando's articles, (70000, 28, 28) uint8, official test split; Xiao, Rasul and Vollgraf (2017).

    Raises: DataNotAvailable, InvalidData.
    """
    return _named("fashion-mnist", ARTICLES, "MIT, Zalando SE", FASHION_MNIST)


def mnist() -> kdbench.Data:
    """Handwritten digits, (70000, 28, 28) uint8, official test split; LeCun, Bottou, Bengio and Haffner (1998).

    Raises: DataNotAvailable, InvalidData.
    """
    return _named("mnist", DIGITS, "CC BY-SA 3.0, Yann LeCun and Corinna Cortes", MNIST)


def idx_directory(argument: str) -> kdbench.Data:
    """`idx:DIR`: train-images-idx3-ubyte, train-labels-idx1-ubyte and their t10k twins, each plain or .gz.

    Raises: DataNotAvailable, InvalidData.
    """
    directory = places.existing(argument, "idx")
    if not _complete(directory):
        raise kdbench.DataNotAvailable(
            f"dataset 'idx:{argument}' is not on this machine",
            f"{directory} lacks one of {', '.join(_file_names())}",
            "put all four there, plain or as .gz",
        )
    images, labels, split = read_directory(directory)
    classes = [str(number) for number in range(int(labels.max(initial=0)) + 1)]
    return kdbench.Data(images, labels, classes, split=split, preprocess="image", source=argument)


def read_directory(directory: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, H, W), labels (N,) and official split (N,). Raises: InvalidData."""
    images, labels = [], []
    for prefix in _PREFIXES.values():
        pictures, classes = (_find(directory, name) for name in _file_names() if name.startswith(prefix))
        images.append(read_idx(pictures, 3))
        labels.append(read_idx(classes, 1))
        if len(images[-1]) != len(labels[-1]):
            raise kdbench.InvalidData(
                f"{pictures} and {classes} do not belong together",
                f"{len(images[-1])} images, {len(labels[-1])} labels",
                "fetch both again",
            )
    if images[0].shape[1:] != images[1].shape[1:]:
        raise kdbench.InvalidData(
            f"the train and test images in {directory} differ in size", f"{images[0].shape[1:]}, {images[1].shape[1:]}"
        )
    split = np.repeat(list(_PREFIXES), [len(part) for part in labels])
    return np.concatenate(images), np.concatenate(labels).astype(np.int64), split


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """One idx file of unsigned bytes, plain or gzip. Raises: InvalidData for a damaged file."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise _damaged(path, f"it does not begin as an idx file of unsigned bytes in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise _damaged(path, f"its header says {math.prod(shape)} bytes, it holds {len(content) - header}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _named(name: str, classes: tuple[str, ...], licence: str, source: kdbench.Source) -> kdbench.Data:
    directory = next((place for place in places.candidates(name) if _complete(place)), None)
    if directory is None:
        try:
            directory = kdbench.source_path(source) / PurePosixPath(source.files[0]).parent
        except kdbench.DataNotAvailable as error:
            looked = ", ".join(map(str, places.candidates(name)))
            raise kdbench.DataNotAvailable(error.what, f"{error.why}; looked in {looked}", error.fix) from error
    images, labels, split = read_directory(directory)
    return kdbench.Data(
        images, labels, classes, split=split, preprocess="image", source=str(directory), licence=licence
    )


def _file_names() -> list[str]:
    return [f"{prefix}-{kind}-ubyte" for prefix in _PREFIXES.values() for kind in ("images-idx3", "labels-idx1")]


def _complete(directory: Path) -> bool:
    return all(_find(directory, name).is_file() for name in _file_names())


def _find(directory: Path, name: str) -> Path:
    compressed = directory / f"{name}.gz"
    return compressed if compressed.is_file() else directory / name


def _damaged(path: Path, why: str) -> kdbench.InvalidData:
    return kdbench.InvalidData(f"{path} is damaged", why, "remove it and fetch it again")
