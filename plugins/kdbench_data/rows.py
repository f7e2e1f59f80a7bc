"""Rows of several files, arrays or splits that are read one after the other as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate


def locator(lengths: Sequence[int]) -> Callable[[int], tuple[int, int]]:
    """Tells of a row of the whole which part it is in, and which row it is there; all count from 0."""
    starts = list(accumulate(lengths, initial=0))

    def locate(row: int) -> tuple[int, int]:
        part = bisect_right(starts, row) - 1
        return part, row - starts[part]

    return locate
