"""How long the commands that only look take: `python tests/benchmarks/bench_startup.py`, medians of whole processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 15
FIGURES = {("--help",): 0.3, ("list",): 0.6, ("plugins",): 0.6}


def seconds(arguments: tuple[str, ...]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kdbench", *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print a table, `python -c pass` first: what no Python program can beat."""
    empty = statistics.median(_timed_empty() for _ in range(REPEATS))
    print(f"{'python -c pass':20} {empty:6.3f} s")
    for arguments, figure in FIGURES.items():
        median = statistics.median(seconds(arguments) for _ in range(REPEATS))
        print(f"{'kdbench ' + ' '.join(arguments):20} {median:6.3f} s   figure to reach: {figure} s")


def _timed_empty() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
