"""SIGKILL at any moment loses at most the runs in flight."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdbench.records import Record
from kdbench.store import Store

pytestmark = pytest.mark.slow
KILLS = 20
COMMAND = (
    sys.executable, "-m", "kdbench", "run", "--dataset", "wine", "--dataset", "breast-cancer", "--seeds", "4",
    "--set", "epochs=15", "--set", "teacher_recipe.epochs=15",
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
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    chance = random.Random(0)
    before: dict[str, bytes] = {}
    interrupted = 0
    for attempt in range(KILLS):
        process = subprocess.Popen(
            [*COMMAND, "--out", str(killed)],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.2, 9.0))
        interrupted += process.poll() is None
        if attempt % 2:
            os.kill(process.pid, signal.SIGKILL)  # its workers must notice and end by themselves
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        after = finished(killed)
        assert {run: after.get(run) for run in before} == before, "a finished record changed"
        before = after
    assert interrupted >= KILLS // 2
    for directory in (killed, alone):
        subprocess.run([*COMMAND, "--out", str(directory)], check=True, capture_output=True)
    assert {run: content for run, content in finished(killed).items() if run in before} == before
    one, other = (
        {record.run_id: result(record) for record in Store.open(directory).records()} for directory in (killed, alone)
    )
    assert len(one) == RUNS
    assert one == other
    assert not list((killed / "tmp").iterdir()), "nothing half-written is left"
