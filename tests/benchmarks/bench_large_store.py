"""Time and memory of `kdbench report` of 10,000, 50,000 and 200,000 records, each in a process of its own.

Run this file, with the numbers of records if others are wanted. The least of several tries is shown, of three looks at
each store:

    disk    nothing is known of the store, and its files' contents have been put out of the system's cache
    first   nothing is known of the store; its files are in the system's cache
    again   the summaries are in the user's cache, and every record is checked to be as it was
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_report import fill

SIZES = (10_000, 50_000, 200_000)
LOOKS = ("disk", "first", "again")


def look(directory: Path, cache: Path) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and the greatest memory (bytes) of a process that prints the table."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "kdbench", "report", str(directory)],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"KDBENCH_CACHE": str(cache)},
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if child.returncode:
        raise SystemExit(f"the process ended with {child.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, processor, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def put_out_of_cache(directory: Path) -> None:
    """Ask the system to forget the contents of the records; it keeps their names and sizes."""
    os.sync()
    for path in directory.glob("runs/*/record.json"):
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def main() -> None:
    """Print a line for each size and look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--tries", type=int, default=3, help="of each look")
    parser.add_argument("--in", dest="place", type=Path, help="where to make the stores; the temporary directory")
    options = parser.parse_args()
    print("| records | look | wall s | processor s | memory MB | processor µs a record |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for size in options.sizes:
        place = Path(tempfile.mkdtemp(prefix="kdbench-bench-", dir=options.place))
        try:
            fill(place / "store", size)
            for name in LOOKS:
                tries = []
                for _ in range(options.tries):
                    if name != "again":
                        shutil.rmtree(place / "cache", ignore_errors=True)
                    if name == "disk":
                        put_out_of_cache(place / "store")
                    tries.append(look(place / "store", place / "cache"))
                wall, processor, memory = map(min, zip(*tries, strict=True))
                each = 1e6 * processor / size
                print(f"| {size:,} | {name} | {wall:.1f} | {processor:.1f} | {memory / 1e6:.0f} | {each:.0f} |")
                sys.stdout.flush()
        finally:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
