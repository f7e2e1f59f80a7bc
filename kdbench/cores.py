"""How many processor cores this process may use, and how many threads each of several processes."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those that it may be scheduled on, where the system tells; else all of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(processes: int) -> int:
    """CPU threads of each of so many processes: an even share of the cores, and OMP_NUM_THREADS at most.

    More threads than free cores wait for each other: whoever shares a machine says so by that variable, of which the
    outermost level counts. As to OpenMP, what is no number in it says nothing.
    """
    share = max(1, usable_cores() // processes)
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(share, int(outermost)) if outermost.isdecimal() and int(outermost) else share
