"""Whether pictures fit into memory: kdbench holds a dataset whole, as bytes and once more as float32."""

from __future__ import annotations

import os
from pathlib import Path

import kdbench

_CGROUP = Path("/sys/fs/cgroup/memory.max")
BYTES_PER_VALUE = 1 + 4
"""Of a picture: one as it is read, four as a float32 after preprocessing."""


def check_room(dataset: str, items: int, values: int, fix: str) -> None:
    """Refuse, before any is read, pictures that do not fit: `items` of them, of `values` numbers each.

    Raises: InvalidData, which names both sizes.
    """
    needed, room = items * values * BYTES_PER_VALUE, available_bytes()
    if room is not None and needed > room:
        raise kdbench.InvalidData(
            f"dataset {dataset!r} does not fit into memory",
            f"{items:,} pictures of {values:,} values take {_size(needed)}, for they are held whole, as bytes and as "
            f"float32; {_size(room)} are free",
            fix,
        )


def available_bytes() -> int | None:
    """Memory that can be had now, within this control group's limit; None where the system does not tell."""
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")] or found
        limit = _CGROUP.read_text(encoding="ascii").strip()
        found += [int(limit)] if limit.isdigit() else []
    except (OSError, ValueError):  # another system: what is known by then serves
        pass
    return min(found, default=None)


def _size(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number < 1e12 else f"{number / 1e12:,.2f} TB"
