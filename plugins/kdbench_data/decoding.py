"""Pictures that do not fit into memory, decoded once into a file of the data cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import PIL
from PIL import Image

import kdbench
from kdbench.cores import usable_cores

VERSION = 1
"""Of what is kept; another number and every picture is decoded again."""
_AHEAD = 32
"""Pictures for each thread that are decoded before the last of them is written."""
_COPIED = 1 << 24
"""Bytes that are copied at a time where grey pictures turn out to have coloured ones among them."""

Opened = tuple[str, Callable[[], Image.Image]]
"""Where a picture is, for messages, and what opens it."""
Read = Callable[[str, Callable[[], Image.Image]], np.ndarray]
"""Decodes one: (H, W) uint8 if it is grey, otherwise (H, W, 3)."""


def decoded(
    dataset: str, pictures: Sequence[Opened], read: Read, shape: tuple[int, int], made_from: Any, size: int
) -> np.ndarray:
    """The pictures, (N, 1, H, W) where all are grey, otherwise (N, 3, H, W), uint8, memory-mapped.

    Args:
        dataset: its name.
        pictures, read: what to decode, and how, which as many threads do as there are processors.
        shape: their height and width.
        made_from: what decides the pictures, as JSON has it; pictures of the same are decoded once.
        size: bytes that the file will take, as far as is known.

    Raises: what `read` raises; InvalidData where a picture has another shape; FetchError for a disk without room.
    """

    def write(path: Path) -> None:
        progress = kdbench.Preparation(f"{dataset}: pictures prepared on disk", len(pictures))
        with _File(path, len(pictures), shape) as file:
            for done, (picture, array) in enumerate(zip(pictures, _in_order(read, pictures), strict=True), 1):
                if array.shape[:2] != shape:
                    raise kdbench.InvalidData(
                        f"dataset {dataset!r}: its pictures differ in size",
                        f"{picture[0]} has {array.shape[1]}x{array.shape[0]} pixels, the first {shape[1]}x{shape[0]}",
                        f"name a size: {with_size(dataset)}",
                    )
                file.append(array)
                progress.done(done)

    parts = [VERSION, PIL.__version__, shape, made_from]
    return kdbench.remember_on_disk(dataset, parts, write, size=size)


def with_size(dataset: str) -> str:
    """The dataset's name with an option that makes its pictures small."""
    return f"'{dataset}{'&' if '?' in dataset else '?'}size=32'"


def stamps(files: Iterable[Path | str]) -> str:
    """SHA-256, hex, of the files' names, sizes and times."""
    digest = hashlib.sha256()
    for file in files:
        status = os.stat(file)
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _in_order(read: Read, pictures: Sequence[Opened]) -> Iterator[np.ndarray]:
    """Threads, for Pillow decodes and scales without the interpreter's lock, and workers may not have children."""
    threads = usable_cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="kdbench-decode") as pool:
        left = iter(pictures)
        while block := list(islice(left, _AHEAD * threads)):
            yield from pool.map(lambda picture: read(*picture), block)


class _File:
    """A .npy file that pictures are appended to: of one channel, until one is in colour.

    It is written and not mapped, so that a disk that is full is an error like any other.
    """

    def __init__(self, path: Path, items: int, shape: tuple[int, int]) -> None:
        self._path, self._items, self._shape = path, items, shape

    def __enter__(self) -> _File:
        self._channels, self._written = 1, 0
        self._file = self._begun()
        return self

    def append(self, picture: np.ndarray) -> None:
        """(H, W), or (H, W, 3)."""
        if picture.ndim == 3 and self._channels == 1:
            self._colour()
        channels = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
        self._file.write(np.repeat(channels, self._channels // len(channels), axis=0).tobytes())
        self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _begun(self) -> BinaryIO:
        file = self._path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._items, self._channels, *self._shape)}
        np.lib.format.write_array_header_1_0(file, header)
        return file

    def _colour(self) -> None:
        """Give what is written so far three channels."""
        self._file.close()
        grey = self._path.with_suffix(".grey")
        self._path.rename(grey)
        self._channels, size = 3, self._shape[0] * self._shape[1]
        self._file = self._begun()
        with grey.open("rb") as before:
            np.lib.format.read_magic(before)
            np.lib.format.read_array_header_1_0(before)
            rows = max(1, _COPIED // size)
            for start in range(0, self._written, rows):
                count = min(rows, self._written - start)
                pixels = np.frombuffer(before.read(count * size), dtype=np.uint8).reshape(count, 1, size)
                self._file.write(np.repeat(pixels, 3, axis=1).tobytes())
        grey.unlink()
