"""Whether pictures fit into memory: what does is held whole, as bytes and once more as float32."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")
BYTES_PER_VALUE = 1 + 4
"""Of a picture: one as it is read, four as a float32 after preprocessing."""


def fits(items: int, values: int) -> bool:
    """Whether so many pictures, of `values` numbers each, fit into the memory that is free, where that is known."""
    room = available_bytes()
    return room is None or items * values * BYTES_PER_VALUE <= room


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
