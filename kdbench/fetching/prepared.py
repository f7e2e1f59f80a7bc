"""Arrays that took time to make, kept on disk by what they were made from."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.durable import remove
from kdbench.errors import InvalidData
from kdbench.fetching import cache
from kdbench.fetching.made_once import made_once

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

VERSION = 1
"""Of the files; another number and every array is made again."""


def remember(name: str, parts: Any, build: Callable[[], Mapping[str, Any]]) -> Arrays:
    """The arrays that `build()` gives, from disk where they were made from the same before.

    Several processes may ask at once: one makes them, the others wait. A damaged file is made again, with a warning.

    Args:
        name: what they are, for people: "wordnet-glosses/minilm".
        parts: everything that the arrays depend on, as JSON has it: a source's sha256, options, the version of what
            encodes, a number of one's own to change with the code. SHA-256 of name and parts is the fingerprint.
        build: makes them: NumPy arrays by name, of any dtype but object.

    Raises: InvalidData where `parts` is not JSON, or `build` gives anything but such arrays; FetchError where the cache
        cannot be written.
    """
    path = prepared_path(name, parts)

    def make(scratch: Path) -> Arrays:
        arrays = _checked(name, build())
        _write(path, arrays, scratch)
        return arrays

    return made_once(path, _read, make)


def prepared_path(name: str, parts: Any) -> Path:
    """The file of prepared arrays, whether it is there or not."""
    try:
        content = msgspec.json.encode({"version": VERSION, "name": name, "parts": parts}, order="deterministic")
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidData(f"remember({name!r}): its parts cannot be written as JSON", str(error)) from error
    readable = re.sub(r"[^A-Za-z0-9._+-]+", "-", name)[:80]
    return cache.root() / "prepared" / f"{readable}-{hashlib.sha256(content).hexdigest()}.npz"


def _read(path: Path) -> Arrays:
    import numpy as np

    with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:  # checks sums
        return dict(archive.items())


def _checked(name: str, arrays: Mapping[str, Any]) -> Arrays:
    import numpy as np

    fitting = isinstance(arrays, Mapping) and all(
        isinstance(key, str) and key and isinstance(array, np.ndarray) and not array.dtype.hasobject
        for key, array in arrays.items()
    )
    if not fitting or not arrays:
        shown = {
            key: str(getattr(array, "dtype", type(array).__name__))
            for key, array in (arrays.items() if isinstance(arrays, Mapping) else [("", arrays)])
        }
        raise InvalidData(
            f"remember({name!r}): build() must give NumPy arrays by name, none of objects", f"got {shown}"
        )
    return dict(arrays)


def _write(path: Path, arrays: Arrays, scratch: Path) -> None:
    import numpy as np

    written = scratch / "arrays.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(written, "w") as archive:  # not compressed: reading it must be quick
            for key, array in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(written, path)
    except OSError as error:
        remove(written)
        raise cache.unwritable(error) from error
