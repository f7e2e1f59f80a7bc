"""Files as pytest-benchmark writes them, for the tests of timings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Box = tuple[float, float, float]
"""Seconds: first quartile, median, third quartile."""


def write_timings(path: Path, stats: dict[str, Box], groups: Mapping[str, str] = {}, **changes: Any) -> Path:
    """A file with the fields that kdbench reads, and some that it does not."""
    benchmarks = [
        {
            "fullname": name, "name": name.rpartition(":")[2], "group": groups.get(name), "params": None,
            "stats": {"q1": q1, "median": median, "q3": q3, "rounds": 9 + place, "mean": median, "iqr": q3 - q1},
        }
        for place, (name, (q1, median, q3)) in enumerate(stats.items())
    ]  # fmt: skip
    content = {
        "benchmarks": benchmarks, "machine_info": {"node": path.stem, "cpu": {"brand_raw": "A CPU"}},
        "commit_info": {"id": f"commit of {path.stem}"}, "datetime": "2026-02-03T04:05:06+00:00", "version": "5.0",
    }  # fmt: skip
    path.write_text(json.dumps(content | changes))
    return path
