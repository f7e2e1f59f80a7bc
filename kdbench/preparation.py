"""Tells how far the preparation of a large dataset is, which is done once and may take hours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

FIRST_SECONDS, SECONDS = 5.0, 30.0
"""When a preparation is told of first, and how often after that; of a shorter one nothing is told."""


def _write(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@dataclass
class _Process:
    listener: Callable[[str], None] = _write
    kept_seconds: float = 0.0
    keeping: int = 0


_process = _Process()


def listen(listener: Callable[[str], None]) -> None:
    """Give what is told to `listener`, for this process; by default it goes to stderr."""
    _process.listener = listener


def tell(text: str) -> None:
    """Tell a line."""
    _process.listener(text)


@contextmanager
def kept() -> Iterator[None]:
    """What is done in this block is kept on disk, for every process that needs it later."""
    began = time.monotonic()
    _process.keeping += 1
    try:
        yield
    finally:
        _process.keeping -= 1
        if not _process.keeping:  # the outermost block has the time of those within it
            _process.kept_seconds += time.monotonic() - began


class Watch:
    """How long this process has been at something: since the watch was made, in seconds."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), kept_seconds()

    @property
    def seconds(self) -> float:
        """All of it."""
        return time.monotonic() - self._began

    @property
    def kept(self) -> float:
        """The part that nothing will take again."""
        return kept_seconds() - self._before


def kept_seconds() -> float:
    """What took this process time that nothing will take again: the blocks of `kept`."""
    return _process.kept_seconds


class Preparation:
    """How far one is: call `done` with the number of items that are finished, now and then.

    Nothing is told outside `kept`: what every process does for itself is not worth a line of each.

    Args:
        what: it is, for people.
        total: number of items.
        clock: in seconds.
    """

    def __init__(self, what: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._total, self._clock = what, total, clock
        self._began, self._told = clock(), False
        self._next = self._began + FIRST_SECONDS

    def done(self, items: int) -> None:
        """So many items are finished."""
        now = self._clock()
        if not _process.keeping or (now < self._next and not (self._told and items == self._total)):
            return
        self._told, self._next = True, now + SECONDS
        minutes = (now - self._began) * (self._total - items) / max(1, items) / 60
        left = f", about {ceil(minutes):,} min left" if items < self._total else ""
        tell(f"{self._what}: {items:,} of {self._total:,}{left}")
