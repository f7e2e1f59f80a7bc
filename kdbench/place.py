"""A process's place among those that train one run together: plain data, made where processes are started."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Number `rank` of `size` processes; `meeting` is the path of the file through which they find each other.

    A process alone meets nobody: its `meeting` is empty.
    """

    rank: int = 0
    size: int = 1
    meeting: str = ""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and that tells how the run goes."""
        return self.rank == 0


ALONE = Place()


def places_for(size: int) -> list[Place]:
    """The places of processes that will train together, with a private directory to meet in; or of one alone."""
    if size == 1:
        return [ALONE]
    meeting = os.path.join(tempfile.mkdtemp(prefix="kdbench-"), "meeting")
    return [Place(rank, size, meeting) for rank in range(size)]


def leave(place: Place) -> None:
    """Remove the meeting file and its directory, if that is empty then: nothing else is ever removed."""
    if place.size > 1:
        with suppress(OSError):
            os.unlink(place.meeting)
        with suppress(OSError):
            os.rmdir(os.path.dirname(place.meeting))
