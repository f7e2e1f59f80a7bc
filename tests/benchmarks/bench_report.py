"""How long a leaderboard of many records takes: run this file, with the number of runs, or use pytest-benchmark."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.records import Cost, Provenance, Record, Throughput, encode
from kdbench.report.formats import render
from kdbench.report.leaderboard import leaderboards
from kdbench.store import Store

METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro", "roc_auc", "log_loss", "ece")
EPOCHS, CLASSES, SEEDS = 60, 10, 10
WHOLE = """
import sys
from pathlib import Path
from kdbench.report.formats import render
from kdbench.report.leaderboard import leaderboards
from kdbench.store import Store
print(render(leaderboards(Store.open(Path(sys.argv[1]), create=False).summaries())))
assert not {"torch", "pandas"} & set(sys.modules)
"""


def synthetic_records(runs: int) -> Iterator[Record]:
    """Runs of 20 methods at 10 seeds on as many datasets as it takes, with a history of 60 epochs each."""
    chance = random.Random(0)
    for number in range(runs):
        method, rest = number % 20, number // 20
        seed, dataset = rest % SEEDS, rest // SEEDS
        accuracy = 0.8 + 0.005 * method + chance.gauss(0, 0.01)
        metrics = {name: accuracy if "loss" not in name else 1 - accuracy for name in METRICS}
        yield Record(
            run_id=f"{number:016x}",
            combo=f"data{dataset}/big->small/{method}",
            dataset=f"data{dataset}",
            teacher="big",
            student="small",
            method="scratch" if method == 0 else f"method{method}",
            params={"temperature": 4.0, "alpha": 0.9},
            recipe="standard",
            recipe_settings={"epochs": EPOCHS, "batch_size": 64, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
            teacher_recipe="standard",
            seed=seed,
            status="ok",
            metrics=metrics,
            val_metrics=metrics,
            teacher_metrics=dict.fromkeys(METRICS, 0.95),
            confusion=[[chance.randrange(100) for _ in range(CLASSES)] for _ in range(CLASSES)],
            throughput=Throughput(
                train_samples_per_s=chance.random() * 1e4, inference_samples_per_s={"1": 900.0, "64": 20000.0}
            ),
            cost=Cost(parameters=8970, flops=17000, bytes=36000, seconds={"train": 2.5, "evaluate": 0.1}, steps=1200),
            history=[
                {"epoch": float(epoch), "lr": 0.05, "ce": chance.random(), "kd": chance.random(), "val_loss": 0.3}
                for epoch in range(EPOCHS)
            ],
            provenance=Provenance(
                kdbench="0.1.0", libraries={"torch": "2.13.0"}, device="cpu", dataset_fingerprint="ab" * 8
            ),
            started="2026-01-01T00:00:00.000+00:00",
            finished=f"2026-01-01T00:00:{number % 60:02d}.000+00:00",
        )


def fill(directory: Path, runs: int) -> Store:
    """A store of synthetic runs, written without the flushing that makes real writes slow."""
    store = Store.open(directory)
    for record in synthetic_records(runs):
        place = directory / "runs" / record.run_id
        place.mkdir()
        (place / "record.json").write_bytes(encode(record))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return fill(tmp_path_factory.mktemp("store"), 2_000)


def test_leaderboards_of_2000_stored_runs(benchmark, store):
    boards = benchmark(lambda: leaderboards(store.summaries()))
    assert len(boards) == 10


def test_reading_2000_summaries(benchmark, store):
    assert len(benchmark(store.summaries)) == 2_000


def test_reading_2000_whole_records(benchmark, store):
    assert len(benchmark(store.records)) == 2_000


def test_writing_a_run(benchmark, tmp_path):
    store, record = Store.open(tmp_path), next(synthetic_records(1))
    assert benchmark(lambda: store.write(record, replace=True))


def main() -> None:
    """Print the seconds of each step, and of the whole in a process of its own, imports included."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=20_000)
    runs = parser.parse_args().runs
    directory = Path(tempfile.mkdtemp(prefix="kdbench-bench-"))
    try:
        store = fill(directory, runs)
        size = (directory / "runs" / f"{0:016x}" / "record.json").stat().st_size
        print(f"{runs} records of {size / 1024:.1f} KiB")
        summaries = store.summaries()
        steps = {
            "store.summaries()": store.summaries,
            "store.records()": store.records,
            "store.statuses()": store.statuses,
            "leaderboards(summaries)": lambda: leaderboards(summaries),
            "read + leaderboards": lambda: leaderboards(store.summaries()),
            "read + leaderboards + table": lambda: render(leaderboards(store.summaries()), "table"),
            "store.frame()": store.frame,
        }
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            print(f"{name:32} {time.perf_counter() - started:7.2f} s")
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", WHOLE, str(directory)], check=True, stdout=subprocess.DEVNULL)
        print(f"{'a process that prints the table':32} {time.perf_counter() - started:7.2f} s")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
