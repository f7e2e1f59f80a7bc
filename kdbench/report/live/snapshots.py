"""What a watched page shows, made again when there is something new and someone asks."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import msgspec

from kdbench.collector import without_collector
from kdbench.errors import UnknownName
from kdbench.records import Summary
from kdbench.report.baselines import Twins
from kdbench.report.leaderboard import leaderboards
from kdbench.report.live.following import Clock, FollowedStore, FollowedTimings
from kdbench.report.page.details import row_details
from kdbench.report.page.document import about, now
from kdbench.report.page.overview import overview
from kdbench.report.page.timing_view import timing_view

INTERVAL = 1.0
"""Seconds between looks at the store."""
REST = 4.0
"""After a look there is none for so many times the processor's time that it took: a fifth of one core at most."""
_LEVEL = 1


@dataclass(frozen=True)
class Shown:
    """What of the runs is shown, and how.

    Args:
        metric: what to rank by; None: the main one of each leaderboard.
        expression: `-k` as it was given, for the reader.
        chosen: whether a combo's runs are shown.
        families: of methods by name.
        lower_is_better: metrics of plugins for which a smaller value is better.
        twins: what methods declare of undistilled rows (kdbench.report.baselines).
    """

    metric: str | None = None
    expression: str = ""
    chosen: Callable[[str], bool] = lambda _: True
    families: Mapping[str, str] = field(default_factory=dict)
    lower_is_better: Collection[str] = ()
    twins: Mapping[str, Twins] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """The page's content at one moment."""

    version: str
    """A hash of the content: where it is the same, nothing that is shown has changed."""
    body: bytes
    """JSON, gzip: version, made (the moment, ISO 8601) and content."""
    rows: dict[str, tuple[list[str], dict[str, str]]]
    """Of each row by its address in the page: its run ids, and the baseline's run of each."""


class Snapshots:
    """The last snapshot of a store; safe for several threads.

    Nothing is looked at while nobody asks.

    Args:
        runs, timings: where they come from.
        shown: what of it is shown.
        tell: is told of each problem once, until it is gone.
        clock, processor: the time, and that of the processor in this thread; for tests.
    """

    def __init__(
        self,
        runs: FollowedStore,
        timings: FollowedTimings,
        shown: Shown,
        tell: Callable[[str], None],
        clock: Clock = time.monotonic,
        processor: Clock = time.thread_time,
    ) -> None:
        self._runs, self._timings, self._shown, self._tell = runs, timings, shown, tell
        self._clock, self._processor = clock, processor
        self._lock, self._over = Lock(), Event()
        self._last: Snapshot | None = None
        self._next_look = 0.0
        self._told: set[str] = set()

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._over.is_set()

    def end(self) -> None:
        """Let everyone who waits go."""
        self._over.set()

    def current(self) -> Snapshot:
        """The content as it is now, or was when it was last looked at, a moment ago."""
        with self._lock:
            if self._last is not None and self._clock() < self._next_look:
                return self._last
            first, started = self._last is None, self._processor()
            changed = [each.look() for each in (self._runs, self._timings)]
            if self._last is None or any(changed):
                with without_collector():
                    self._last = self._made()
            # The first reads everything, and imports what it takes.
            took = 0.0 if first else self._processor() - started
            self._next_look = self._clock() + max(INTERVAL, REST * took)
            return self._last

    def newer_than(self, version: str, patience: float) -> Snapshot | None:
        """Another content than `version` as soon as there is one; None after so many seconds, or at the end."""
        until = self._clock() + patience
        while not self.ended:
            snapshot = self.current()
            if snapshot.version != version:
                return snapshot
            left = until - self._clock()
            if left <= 0:
                break
            self._over.wait(min(INTERVAL, left))
        return None

    def details(self, row: str) -> dict[str, dict[str, Any]]:
        """The curves of a row's runs by run id, as they are in the store now; empty where there is no such row."""
        run_ids, baseline = self.current().rows.get(row, ([], {}))
        return row_details(self._runs.store, run_ids, baseline) if self._runs.store is not None else {}

    def _made(self) -> Snapshot:
        problems = [*self._runs.problems, *self._timings.problems]
        shown = self._shown
        summaries: list[Summary] = [each for each in self._runs.summaries if shown.chosen(each.combo)]
        try:
            boards = leaderboards(
                summaries, metric=shown.metric, lower_is_better=shown.lower_is_better, twins=shown.twins
            )
        except UnknownName as error:  # no run has the metric, so far
            problems.append(str(error))
            summaries, boards = [], []
        self._tell_new(problems)
        found = overview(summaries, boards, families=shown.families, lower_is_better=shown.lower_is_better)
        content = found.content | {
            "about": about(str(self._runs.directory)),
            "timings": timing_view(self._timings.files),
            "live": {"problems": problems, "expression": shown.expression},
        }
        encoded = msgspec.json.encode(content)
        version = hashlib.blake2b(encoded, digest_size=12).hexdigest()
        whole = msgspec.json.encode({"version": version, "made": now(), "content": msgspec.Raw(encoded)})
        keys = [f"{found.content['boards'][row['board']]['key']}.{row['key']}" for row in found.content["rows"]]
        return Snapshot(
            version,
            gzip.compress(whole, _LEVEL),
            dict(zip(keys, zip(found.run_ids, found.baselines, strict=True), strict=True)),
        )

    def _tell_new(self, problems: list[str]) -> None:
        for problem in dict.fromkeys(problems):
            if problem not in self._told:
                self._tell(f"warning: {problem}")
        self._told = set(problems)
