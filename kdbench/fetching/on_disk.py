"""Arrays too large for memory: written once into the data cache, and read from there by memory map."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.durable import reason, remove, sync_directory
from kdbench.errors import DataNotAvailable, FetchError
from kdbench.fetching import cache
from kdbench.fetching.made_once import made_once
from kdbench.fetching.prepared import prepared_path
from kdbench.preparation import tell

if TYPE_CHECKING:
    import numpy as np

    Mapped = np.memmap[tuple[int, ...], np.dtype[Any]]


def remember_on_disk(name: str, parts: Any, write: Callable[[Path], None], *, size: int) -> Mapped:
    """The array of the .npy file that `write(path)` makes, memory-mapped and read-only; made from the same, made once.

    The file is whole or absent. Several processes may ask at once: one writes, the others wait. What a killed one left
    is removed by the next.

    Args:
        name, parts: as of `remember`.
        write: makes the file. What it raises goes through, but an OSError, and leaves nothing.
        size: bytes that it will take.

    Raises: FetchError, naming `name`, where the disk has no room, or the cache cannot be written; InvalidData where
        `parts` is not JSON.
    """
    path = prepared_path(name, parts).with_suffix(".npy")

    def make(scratch: Path) -> Mapped:
        _check_room(name, size)
        written = scratch / path.name
        try:
            write(written)
            with written.open("rb") as file:
                os.fsync(file.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(written, path)
            sync_directory(path.parent)
        except OSError as error:
            remove(written)
            raise _unwritten(name, f"{cache.root()}: {reason(error) or type(error).__name__}") from error
        return _mapped(path)

    def wait() -> None:
        tell(f"{name}: another process is preparing it; waiting for that")

    return made_once(path, _mapped, make, wait)


def check_disk_room(name: str, size: int) -> None:
    """Refuse, before anything is fetched for it, what the cache's disk has no room for; not what was prepared before.

    Args:
        name, size: as of `remember_on_disk`.

    Raises: DataNotAvailable, with both sizes.
    """
    start = prepared_path(name, None).name.rpartition("-")[0]
    hashes = "[0-9a-f]" * 64
    if any((cache.root() / "prepared").glob(f"{start}-{hashes}.npy")):
        return
    try:
        _check_room(name, size)
    except FetchError as error:
        raise DataNotAvailable(
            f"dataset {name!r} is not on this machine", f"it would not fit: {error.why}", error.fix
        ) from error


def _check_room(name: str, size: int) -> None:
    place = cache.root()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if size > free:
        raise _unwritten(name, f"it takes {_bytes(size)}; {cache.root()} has {_bytes(free)} free")


def _unwritten(name: str, why: str) -> FetchError:
    return FetchError(
        f"{name!r} cannot be prepared on disk",
        why,
        f"free some space, or set {cache.VARIABLE} to a directory of a larger disk",
    )


def _bytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number:,} bytes"


def _mapped(path: Path) -> Mapped:
    import numpy as np

    return np.lib.format.open_memmap(path, mode="r")
