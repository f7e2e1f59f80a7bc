"""Files that other processes write meanwhile, read again only where they changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kdbench import summary_cache
from kdbench.errors import RecordError, StoreError, UsageError
from kdbench.records import Summary
from kdbench.report.page.timing_view import TimingFile, read_timing_files
from kdbench.store import Store
from kdbench.summary_cache import Stamp, Stamped

Clock = Callable[[], float]
"""Seconds, as time.monotonic counts them."""

SCAN_SECONDS = 15.0
"""How long a record that was changed in its place may stay unseen; runs that come, go or are replaced are seen at
once."""
_SCAN_SHARE = 20.0
"""A scan of all records is not repeated before so many times what it took."""


class FollowedStore:
    """A results directory, which may not be there yet.

    Args:
        directory: where it is, or will be.
        clock: for tests.
    """

    def __init__(self, directory: Path, clock: Clock = time.monotonic) -> None:
        self.directory = directory
        self.store: Store | None = None
        self.problems: list[str] = []
        """What cannot be read, now."""
        self._clock = clock
        self._found: dict[str, Stamped] | None = None
        self._change: int | None = None
        self._once_more = False
        self._next_scan = 0.0

    @property
    def summaries(self) -> list[Summary]:
        """The runs, ordered by run id, as the last look found them."""
        return [summary for _, summary in (self._found or {}).values()]

    def look(self) -> bool:
        """See what is new; whether anything is."""
        if self.store is None and Store.awaited(self.directory):
            return self._settle(None, [])
        try:
            self.store = self.store or Store.open(self.directory, create=False)
            change, now = self.store.last_change(), self._clock()
            if change == self._change and not self._once_more and now < self._next_scan:
                return False
            problems: list[RecordError] = []
            found = self.store.refreshed(self._found, problems=problems)
        except StoreError as error:
            return self._settle(self._found, [str(error)])
        # The clock of a file system may be so coarse that a change just after this scan leaves the same mark.
        self._once_more, self._change = change != self._change, change
        self._next_scan = self._clock() + max(SCAN_SECONDS, _SCAN_SHARE * (self._clock() - now))
        return self._settle(found, [str(problem) for problem in problems])

    def _settle(self, found: dict[str, Stamped] | None, problems: list[str]) -> bool:
        before = self._found or {}, self.problems
        self._found, self.problems = found, problems
        return (self._stamps(found or {}), problems) != (self._stamps(before[0]), before[1])

    @staticmethod
    def _stamps(found: dict[str, Stamped]) -> dict[str, Stamp]:
        return {run_id: stamp for run_id, (stamp, _) in found.items()}


class FollowedTimings:
    """Files of pytest-benchmark, which may be written again.

    Args: paths: at most two.
    Raises: UsageError where one cannot be read at the start; later such a one keeps what it had, and is told.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look_at_files()
        self.files: list[TimingFile] = read_timing_files(self._paths)
        self.problems: list[str] = []

    def look(self) -> bool:
        """See what is new; whether anything is."""
        stamps = self._look_at_files()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self.files, self.problems = read_timing_files(self._paths), []
        except UsageError as error:
            self.problems = [str(error)]
        return True

    def _look_at_files(self) -> list[Stamp]:
        found = []
        for path in self._paths:
            try:
                found.append(summary_cache.stamp(str(path)))
            except OSError:
                found.append(summary_cache.NO_STAMP)
        return found
