"""Two files of pytest-benchmark side by side: which timings became slower or faster beyond their own spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from kdbench.durable import reason
from kdbench.errors import UsageError

Verdict = Literal["faster", "slower", "unchanged", "new", "gone"]
TOLERANCE = 0.05
"""Sessions of one quiet machine differ by a few per cent; less than this is never called a change."""


class Stats(msgspec.Struct, frozen=True):
    """Seconds of one round, as pytest-benchmark has them."""

    median: float
    q1: float
    q3: float
    rounds: int


class Timing(msgspec.Struct, frozen=True):
    """One benchmark of a file."""

    fullname: str
    stats: Stats
    group: str | None = None


class Timings(msgspec.Struct, frozen=True):
    """A file written by `pytest --benchmark-json FILE`."""

    benchmarks: list[Timing]
    machine_info: dict[str, Any] = {}
    commit_info: dict[str, Any] = {}
    datetime: str = ""


class TimingChange(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark in the files A and B; medians in seconds."""

    name: str
    verdict: Verdict
    """slower, faster: the middle halves of the rounds (from first to third quartile) do not overlap, and the medians
    are more than 5% apart."""
    a: float | None
    b: float | None
    ratio: float | None
    """Median of B / median of A."""


class TimingComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Every benchmark of two files."""

    changes: list[TimingChange]
    provenance: dict[str, tuple[str, str]]
    """What differs between machine, interpreter and commit of A and B."""

    @property
    def regressed(self) -> bool:
        """Whether any benchmark is slower."""
        return any(change.verdict == "slower" for change in self.changes)


def read_timings(path: Path) -> Timings:
    """The benchmarks of a file. Raises: UsageError where it is not pytest-benchmark's, or names one twice."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Timings)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", reason(error), "check the path") from error
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{path} holds no timings of pytest-benchmark", str(error), "pytest --benchmark-json FILE writes them"
        ) from error
    names = [timing.fullname for timing in found.benchmarks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{path} has the benchmark {twice!r} twice", fix="write each session to a file of its own")
    for timing in found.benchmarks:
        if not 0 < timing.stats.q1 <= timing.stats.median <= timing.stats.q3:
            raise UsageError(
                f"{path}: the times of benchmark {timing.fullname!r} are not in order",
                f"first quartile {timing.stats.q1}, median {timing.stats.median}, third {timing.stats.q3}",
                "run it again",
            )
    return found


def compare_timings(a: Timings, b: Timings) -> TimingComparison:
    """Match benchmarks by their full names."""
    before, after = ({timing.fullname: timing.stats for timing in side.benchmarks} for side in (a, b))
    changes = [_change(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])]
    return TimingComparison(changes=changes, provenance=_differing(conditions(a), conditions(b)))


def _change(name: str, old: Stats | None, new: Stats | None) -> TimingChange:
    if old is None or new is None:
        only = old or new
        assert only is not None
        a, b = (only.median, None) if new is None else (None, only.median)
        return TimingChange(name=name, verdict="gone" if new is None else "new", a=a, b=b, ratio=None)
    ratio, verdict = new.median / old.median, "unchanged"
    if new.q1 > old.q3 and ratio > 1 + TOLERANCE:
        verdict = "slower"
    elif new.q3 < old.q1 and ratio < 1 / (1 + TOLERANCE):
        verdict = "faster"
    return TimingChange(name=name, verdict=verdict, a=old.median, b=new.median, ratio=ratio)  # type: ignore[arg-type]


def conditions(timings: Timings) -> dict[str, str]:
    """Machine, interpreter and commit, by name, as far as the file tells them."""
    machine, commit = timings.machine_info, timings.commit_info
    processor = machine.get("cpu")
    named = {"commit": commit.get("id"), "cpu": processor.get("brand_raw") if isinstance(processor, dict) else None}
    named |= {name: machine.get(name) for name in ("machine", "node", "python_version", "release")}
    return {name: str(value) for name, value in named.items() if value is not None}


def _differing(a: dict[str, str], b: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (a.get(name, ""), b.get(name, "")) for name in {**a, **b} if a.get(name) != b.get(name)}
