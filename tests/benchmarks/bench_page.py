"""The page of many runs: its size, the time to make it, and how long sorting and filtering take in Chromium.

Run this file with the number of runs, or with --page FILE for a page that is there already.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench_report import fill

from kdbench.report.leaderboard import leaderboards
from kdbench.report.page.document import render_page
from kdbench.store import Store

SORT = "document.querySelector('thead th:nth-child(3) button').click()"
FILTER = """(() => {
    const search = document.querySelector('#search');
    search.value = search.value ? '' : 'method7';
    search.dispatchEvent(new Event('input', {bubbles: true}));
})()"""
METRIC = """(() => {
    const select = document.querySelectorAll('form select')[0];
    select.value = select.options[select.selectedIndex === 1 ? 2 : 1].value;
    select.dispatchEvent(new Event('change', {bubbles: true}));
})()"""
TIMED = """(action) => new Promise((done) => {
    const started = performance.now();
    eval(action);
    requestAnimationFrame(() => { document.body.offsetHeight; setTimeout(() => done(performance.now() - started)); });
})"""
"""From the action to the frame after it, with its layout."""


def make(runs: int, path: Path) -> None:
    """Write the page of a synthetic store, and print what it took."""
    directory = Path(tempfile.mkdtemp(prefix="kdbench-bench-"))
    try:
        store = fill(directory, runs)
        started, cpu = time.perf_counter(), time.process_time()
        summaries = Store.open(directory, create=False).summaries()
        text = render_page(summaries, leaderboards(summaries), store)
        path.write_text(text, "utf-8")
        took = f"{time.perf_counter() - started:.1f} s ({time.process_time() - cpu:.1f} s of the processor)"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{runs} runs: {len(text) / 1e6:.1f} MB in {took}, {memory:.0f} MiB at most")
    finally:
        shutil.rmtree(directory)


def measure(path: Path, repetitions: int = 9) -> None:
    """Print the median milliseconds of opening, sorting, filtering and choosing another metric, and the memory."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
    from chromium import launched

    with launched() as browser:
        page = browser.new_context(bypass_csp=True).new_page()
        started = time.perf_counter()
        page.goto(path.resolve().as_uri(), timeout=60_000)
        page.get_by_role("region", name="Leaderboard").wait_for(timeout=60_000)
        print(f"open: {time.perf_counter() - started:.1f} s")
        for name, action in (("sort", SORT), ("filter", FILTER), ("another metric", METRIC)):
            times = [page.evaluate(TIMED, action) for _ in range(repetitions)]
            print(f"{name}: median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms")
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        print(f"JavaScript heap: {heap / 2**20:.0f} MiB")


def main() -> None:
    """Make the page, unless one is given, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=50_000)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    if options.page is not None:
        measure(options.page)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "page.html"
        make(options.runs, path)
        measure(path)


if __name__ == "__main__":
    main()
