"""What the page shows of timings of kernels: one file of pytest-benchmark, or two side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kdbench.errors import UsageError
from kdbench.report.timings import TOLERANCE, Timings, compare_timings, conditions, read_timings

MOST = 2
"""Files on one page: A, and the B that is compared with it, as `kdbench compare A B` does."""


@dataclass(frozen=True)
class TimingFile:
    """What a file of pytest-benchmark holds, and the name that it was given by."""

    name: str
    timings: Timings


def read_timing_files(paths: Iterable[Path]) -> list[TimingFile]:
    """The files. Raises: UsageError where there are more than two, or one is not pytest-benchmark's."""
    paths = list(paths)
    if len(paths) > MOST:
        raise UsageError(
            f"--timings is given {len(paths)} times: a page holds one file, or two to compare",
            fix="make a page for each pair",
        )
    return [TimingFile(str(path), read_timings(path)) for path in paths]


def timing_view(files: Sequence[TimingFile]) -> dict[str, Any] | None:
    """The content of the view, times in seconds; None without files.

    Returns: files (name, measured: a moment in ISO 8601, conditions), benchmarks (name, group, stats: median, q1, q3
    and rounds for each file or None, and of two files verdict and ratio), differing: conditions that are not the same
    in both, and the tolerance of the verdicts.
    """
    if not files:
        return None
    sides = [{timing.fullname: timing for timing in file.timings.benchmarks} for file in files]
    compared = compare_timings(files[0].timings, files[1].timings) if len(files) == MOST else None
    changes = {change.name: change for change in compared.changes} if compared else {}
    benchmarks = []
    for name in dict.fromkeys(name for side in sides for name in side):
        found = [side.get(name) for side in sides]
        change = changes.get(name)
        benchmarks.append({
            "name": name,
            "group": next((timing.group for timing in found if timing is not None and timing.group), ""),
            "stats": [None if timing is None else msgspec.to_builtins(timing.stats) for timing in found],
            "verdict": change.verdict if change else None,
            "ratio": change.ratio if change else None,
        })  # fmt: skip
    return {
        "files": [
            {"name": file.name, "measured": file.timings.datetime, "conditions": conditions(file.timings)}
            for file in files
        ],
        "benchmarks": benchmarks,
        "differing": compared.provenance if compared else {},
        "tolerance": TOLERANCE,
    }
