"""The code of docs/records.md answers what the page says it answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.records import Record, Throughput
from kdbench.store import Store

PAGE = Path(__file__).parents[1] / "docs" / "records.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
ACCURACIES = {"scratch": (0.80, 0.82), "kd": (0.85, 0.89), "slow": (0.84, 0.86)}
SPEEDS = {"scratch": 3000.0, "kd": 2000.0, "slow": 1000.0}


def ran(method: str, seed: int, **fields) -> Record:
    named = {"dataset": "digits", "teacher": "big", "student": "small", "teacher_recipe": "standard"}
    where = {"run_id": f"{method}-{seed}", "combo": method, "recipe": "standard", "started": "t", "finished": "t"}
    return Record(method=method, seed=seed, **named, **where, **fields)


@pytest.fixture
def answers(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "results")
    for method, accuracies in ACCURACIES.items():
        speed = Throughput(inference_samples_per_s={"64": SPEEDS[method]})
        for seed, accuracy in enumerate(accuracies):
            scores = {"metrics": {"accuracy": accuracy}, "val_metrics": {"accuracy": accuracy + 0.01}}
            store.write(ran(method, seed, status="ok", throughput=speed, **scores))
    store.write(ran("x", 0, status="failed", error="ValueError: no"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCKS[:4]:
        exec(block, names)  # the page's own code
    return names


def test_gains_are_paired_by_seed(answers):
    gains = answers["gains"].loc[("digits", "big", "small", "standard")]
    assert gains["kd", "mean"] == pytest.approx(0.06)
    assert gains["kd", "sem"] == pytest.approx(0.01)  # of 0.05 and 0.07
    assert gains["slow", "sem"] == pytest.approx(0, abs=1e-12)


def test_what_is_beaten_in_accuracy_and_speed_is_left_out(answers):
    assert list(answers["pareto"].index) == [("digits", "scratch"), ("digits", "kd")]


def test_validation_is_compared_with_the_test_split_and_failures_are_counted(answers):
    assert answers["optimism"].loc["kd", "mean"] == pytest.approx(0.01)
    assert answers["failures"].to_dict() == {("x", "failed", "ValueError: no"): 1}
