"""SIGKILL at any moment loses at most the runs in flight."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.records import Record
from kdbench.store import Store

pytestmark = pytest.mark.slow
KILLS = 20
COMMAND = (
    sys.executable, "-m", "kdbench", "run", "--dataset", "wine", "--dataset", "breast-cancer", "--teacher", "mlp-l",
    "--seeds", "4", "--set", "epochs=15", "--set", "teacher_recipe.epochs=15",
)  # fmt: skip
RUNS = 2 * 5 * 4


def finished(directory: Path) -> dict[str, bytes]:
    """The bytes of every visible record; reading them checks that each is whole."""
    if not (directory / "kdbench-store.json").exists():
        return {}
    store = Store.open(directory, create=False)
    for record in store.records():
        assert record.status == "ok", record.error
        predictions = store.predictions(record.run_id)
        assert len(predictions["labels"]) == len(predictions["probabilities"])
    return {path.parent.name: path.read_bytes() for path in directory.glob("runs/*/record.json")}


def result(record: Record) -> dict[str, object]:
    """What a run is about: everything but times, and how the work was shared."""
    names = ("run_id", "combo", "params", "recipe_settings", "seed", "metrics", "val_metrics", "teacher_metrics",
             "confusion", "history", "selected_epoch")  # fmt: skip
    provenance = record.provenance
    fingerprints = {"dataset": provenance.dataset_fingerprint, "teacher": provenance.teacher_fingerprint}
    return {name: getattr(record, name) for name in names} | fingerprints


def test_a_job_killed_twenty_times_ends_like_one_that_was_left_alone(tmp_path):
    chance = random.Random(0)
    kills = 0
    jobs = []
    while kills < KILLS:
        jobs.append(tmp_path / f"killed-{len(jobs)}")
        kills += kill_again_and_again(jobs[-1], chance, KILLS - kills)
    alone = tmp_path / "alone"
    subprocess.run([*COMMAND, "--out", str(alone)], check=True, capture_output=True, cwd=tmp_path)
    expected = results(alone)
    assert len(expected) == RUNS
    for job in jobs:
        assert results(job) == expected
        assert not list((job / "tmp").iterdir()), "nothing half-written is left"


def kill_again_and_again(directory: Path, chance: random.Random, times: int) -> int:
    """Kill the job at random moments and start it again until it comes to its end; returns how often it was killed."""
    before: dict[str, bytes] = {}
    kills = 0
    while True:
        process = subprocess.Popen(
            [*COMMAND, "--out", str(directory)],
            start_new_session=True,
            cwd=directory.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(chance.uniform(0.2, 8.0) if kills < times else None)
        except subprocess.TimeoutExpired:
            if kills % 2:
                process.kill()  # its workers must notice and end by themselves
            else:
                os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        status = process.wait()
        after = finished(directory)
        assert {run: after.get(run) for run in before} == before, "a finished record changed"
        before = after
        if status != -signal.SIGKILL:
            assert status == 0
            return kills


def results(directory: Path) -> dict[str, dict[str, object]]:
    return {record.run_id: result(record) for record in Store.open(directory, create=False).records()}
