"""Where data is looked for on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
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


def options(argument: str, scheme: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """`PATH?key=value&key=value` -> the path and its options. Raises: InvalidParameter for an unknown option."""
    path, _, query = argument.partition("?")
    chosen: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in known or not value:
            raise kdbench.InvalidParameter(
                f"dataset '{scheme}:{argument}': cannot read the option {pair!r}",
                f"known options: {', '.join(f'{one}=...' for one in known)}",
            )
        chosen[key] = value
    return path, chosen


def size_option(chosen: dict[str, str], name: str) -> int | None:
    """The option size: pixels of a side. Raises: InvalidParameter."""
    text = chosen.get("size")
    if text is None:
        return None
    if not text.isdigit() or not 1 <= int(text) <= 4096:
        raise kdbench.InvalidParameter(f"dataset {name!r}: size={text} is not a number of pixels in [1, 4096]")
    return int(text)
