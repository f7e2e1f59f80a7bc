"""Where data is looked for on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import kdbench

SYSTEM = Path("/usr/share/datasets")


def candidates(name: str) -> list[Path]:
    """Directories that may hold the dataset, in the order of search.

    $KDBENCH_DATA/NAME; $KDBENCH_DATA itself where it is called NAME (MNIST and Fashion-MNIST have the same file names);
    ./data/NAME; /usr/share/datasets/NAME, where Debian's packages install.
    """
    places = []
    if root := os.environ.get("KDBENCH_DATA"):
        base = Path(root).expanduser()
        places = [base / name, *([base] if base.name == name else [])]
    return [*places, Path("data") / name, SYSTEM / name]


def existing(path: str, scheme: str) -> Path:
    """The path that a scheme's argument names. Raises: DataNotAvailable where nothing is there."""
    found = Path(path).expanduser()
    if not path or not found.exists():
        raise kdbench.DataNotAvailable(
            f"dataset '{scheme}:{path}' is not on this machine", f"there is no {path or 'path'}", "check the path"
        )
    return found
