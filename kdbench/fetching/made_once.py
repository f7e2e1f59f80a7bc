"""Files of the data cache that are made by one process and read by all that come later."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kdbench.fetching import cache
from kdbench.preparation import kept

T = TypeVar("T")


def made_once(
    path: Path, read: Callable[[Path], T], make: Callable[[Path], T], on_wait: cache.OnWait = lambda: None
) -> T:
    """What `read(path)` gives or, where the file is absent or damaged, what `make(scratch)` does.

    Several processes may ask at once: one makes it, the others wait. `scratch` is a directory on the cache's file
    system, gone afterwards; `make` moves the file from there to its place. A damaged file is told by a warning.

    Raises: what `make` raises; FetchError where the cache cannot be written.
    """
    if (found := _undamaged(path, read, warn=True)) is not None:
        return found
    with kept(), cache.locked(path.stem, on_wait), cache.scratch(path.stem) as scratch:
        if (found := _undamaged(path, read, warn=False)) is not None:
            return found
        return make(scratch)


def _undamaged(path: Path, read: Callable[[Path], T], *, warn: bool) -> T | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if warn:
            warnings.warn(f"{path} is damaged ({error}): it is made again", stacklevel=4)
        return None
