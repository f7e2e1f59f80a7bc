"""What takes a pass over all of a dataset: computed at once in memory, and once for all where the data is on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.fetching.prepared import remember
from kdbench.preparation import kept

PROTOCOL = 1
"""Version of cleaning, splitting and preprocessing; a change of any of them changes every fingerprint."""


def is_on_disk(array: NDArray[Any]) -> bool:
    """Whether the array is read from its file as it is needed: bytes that are memory-mapped, one item after another."""
    return isinstance(array, np.memmap) and array.dtype == np.uint8 and array.flags.c_contiguous


def once(
    name: str, views: Mapping[str, NDArray[Any]], what: str, parts: Callable[[], Any], build: Callable[[], NDArray[Any]]
) -> NDArray[Any]:
    """`build()`; where a view is on disk its result is kept in the data cache, for every process that asks later.

    Args:
        name: the dataset.
        views: all arrays that `build` reads.
        what: what is built.
        parts: gives what it depends on beside the views and the protocol's version, as JSON has it.
        build: gives an array.

    Raises: what `build` raises; FetchError where the cache cannot be written.
    """
    if not any(map(is_on_disk, views.values())):
        return build()
    content = {view: _identity(array) for view, array in views.items()}
    with kept():
        return remember(f"{name}/{what}", [PROTOCOL, content, parts()], lambda: {what: build()})[what]


def content_sum(array: NDArray[Any]) -> str:
    """SHA-256, hex, of an array in memory."""
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()


def _identity(array: NDArray[Any]) -> list[Any]:
    """What tells an array from others: of a file its name, size and time, and which part of it the array is."""
    described = [array.dtype.str, array.shape]
    if not (isinstance(array, np.memmap) and array.filename is not None):
        return [*described, content_sum(array)]
    file = Path(array.filename)
    status, whole = file.stat(), array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base  # type: ignore[assignment]
    start = array.ctypes.data - whole.ctypes.data
    return [*described, array.strides, start, str(file), status.st_size, status.st_mtime_ns]
