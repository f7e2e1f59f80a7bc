"""The kernels' sources: in a checkout, or inside an installed package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from kdbench.errors import KernelsNotBuilt

VARIABLE = "KDBENCH_KERNEL_SOURCES"
_TABLE_OF_CONTENTS = "registration.cpp"
_SUFFIXES = {".cpp", ".h", ".cu", ".cuh"}


def source_directory() -> Path:
    """The directory with registration.cpp: KDBENCH_KERNEL_SOURCES, the wheel's copy, or a checkout's csrc/.

    Raises: KernelsNotBuilt where there is none.
    """
    package = Path(__file__).parents[1]
    asked = os.environ.get(VARIABLE)
    candidates = [Path(asked).absolute()] if asked else [package / "kernels" / "csrc", package.parent / "csrc"]
    for directory in candidates:
        if (directory / _TABLE_OF_CONTENTS).is_file():
            return directory
    raise KernelsNotBuilt(
        "the sources of the kernels are not there",
        f"no {_TABLE_OF_CONTENTS} in {' or '.join(map(str, candidates))}",
        f"unset {VARIABLE}" if asked else "install kdbench again",
    )


def fingerprint(directory: Path) -> str:
    """A hash of every source file's name and content, CUDA's and the Python module's included."""
    return digest(
        part
        for path in sorted(path for path in directory.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
        for part in (path.relative_to(directory).as_posix().encode(), path.read_bytes())
    )


def digest(parts: Iterable[bytes]) -> str:
    """A hash of the parts, each kept apart from the next: 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()
