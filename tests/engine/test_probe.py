"""The estimate of a run's time: counted on a clock that only the work itself moves."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import msgspec
import pytest
import torch
from lightning_fabric import Fabric

import kdbench
from kdbench.catalog import Catalog
from kdbench.commands import dry_run
from kdbench.engine import probe
from kdbench.engine.context import RunContext
from kdbench.engine.views import Views
from kdbench.executors import Execution
from kdbench.outcomes import failure_record
from kdbench.plan import Repeats, Run, make_plan
from kdbench.plugins import load_plugins
from kdbench.select import Selection


class Clock:
    """Seconds that pass when somebody says so."""

    now = 0.0


class Counted(kdbench.Method):
    """Three seconds for every batch, and as many of another model's where `assistants` says so."""

    needs = kdbench.needs(logits=True)
    assistants: int = 0

    def fit(self, trainer):
        for number in range(self.assistants):
            trainer.train_model(trainer.pair.new_model("student", number), number, method=Counted())
        trainer.run_epochs()

    def loss(self, batch, student, teacher):
        Clock.now += 3.0
        return batch.cross_entropy(student.logits) + 0 * teacher.logits.sum()


class Late(Counted):
    """Five seconds more in the last half of the training."""

    def loss(self, batch, student, teacher):
        Clock.now += 5.0 if batch.progress >= 0.5 else 0.0
        return super().loss(batch, student, teacher)


class Frail(Counted):
    """Cannot be trained on a part of the data."""

    def loss(self, batch, student, teacher):
        raise RuntimeError("no")


@pytest.fixture(scope="module")
def own_catalog() -> Catalog:
    catalog = load_plugins().catalog
    for method in (Counted, Late, Frail):
        catalog.add("method", method.__name__.lower(), method, "tests", {})
    return catalog


@pytest.fixture
def context(own_catalog, tmp_path, monkeypatch) -> RunContext:
    monkeypatch.setattr(probe.time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(probe, "_measure", lambda *arguments: None)
    return RunContext(own_catalog, tmp_path, plugins={}, workers=1)


def run_of(catalog: Catalog, method: str, *settings: str) -> Run:
    selection = Selection(dataset=("wine",), teacher=("mlp-l",), student=("mlp-s",), method=(method,))
    return make_plan(catalog, selection, settings, Repeats(seeds=(0,))).runs[0]


FABRIC = Fabric(accelerator="cpu", devices=1)
STEPS = -(-106 // 32)  # wine's training items, in the recipe's batches


def test_the_methods_own_steps_are_counted_over_the_whole_recipe(context, own_catalog):
    run = run_of(own_catalog, "counted", "epochs=40")
    found = probe.seconds_per_run(run, context)
    assert found["student"] == pytest.approx(40 * STEPS * 3)
    assert (found["teacher"], found["signals"], found["measure"]) == (0, 0, 0)
    assert "untimed" not in found


def test_further_models_that_a_method_trains_are_in_it(context, own_catalog):
    found = probe.seconds_per_run(run_of(own_catalog, "counted", "epochs=10", "counted.assistants=2"), context)
    assert found["student"] == pytest.approx(3 * 10 * STEPS * 3)


def test_a_stage_takes_its_share_of_the_short_training_too(context, own_catalog):
    found = probe.seconds_per_run(run_of(own_catalog, "late", "epochs=10"), context)
    assert found["student"] == pytest.approx(10 * STEPS * (3 + 5 / 2))


def test_what_cannot_be_trained_shortly_is_told_and_counted_as_labels_alone(context, own_catalog):
    found = probe.seconds_per_run(run_of(own_catalog, "frail", "epochs=10"), context)
    assert (found["untimed"], found["student"]) == (1.0, 0.0)


def test_a_method_that_wants_a_final_fine_tune_sees_it_in_the_short_training_too(context, own_catalog):
    run = run_of(own_catalog, "gupta", "gupta.matching=1", "epochs=2", "recipe.finetune_epochs=2")
    assert "untimed" not in probe.seconds_per_run(run, context)


def test_what_a_pair_shares_is_timed_once(context, own_catalog, monkeypatch):
    asked = []
    timed = probe._timed_pair
    monkeypatch.setattr(probe, "_timed_pair", lambda *arguments: asked.append(1) or timed(*arguments))
    for method in ("counted", "scratch", "kd"):
        probe.seconds_per_run(run_of(own_catalog, method), context)
    probe.seconds_per_run(run_of(own_catalog, "kd", "recipe.batch_size=16"), context)
    assert len(asked) == 2


class Fitting:
    """Takes seconds by a law of the number of items."""

    def __init__(self, law):
        self.law, self.fits = law, []

    def fit(self, inputs, labels):
        assert len(labels.unique()) > 1
        self.fits.append(len(labels))
        Clock.now += self.law(len(labels))


@pytest.mark.parametrize(
    ("law", "items", "fits"),
    [
        (lambda n: 0.8 * n**0.5, 60_000, [125, 250]),  # slow from the first on: the power is that of two fits
        (lambda n: 1e-3 * n, 60_000, [125, 250, 500, 1000, 2000, 4000]),
        (lambda n: 1e-7 * n**2, 60_000, [125, 250, 500, 1000, 2000, 4000, 8000]),
        (lambda n: 1e-5 * n, 1_500, [125, 250, 500, 1000, 1500]),  # quick: fitted to all
        (lambda n: 5.0, 9_000, [125, 250]),
        (lambda n: 9.0 * n, 1_000, [125, 250]),
        (lambda n: 7.0, 90, [90]),
        (lambda n: 0.0, 500, [125, 250, 500]),
    ],
)
def test_an_estimators_fit_is_timed_by_the_power_of_the_items_that_it_goes_with(monkeypatch, law, items, fits):
    monkeypatch.setattr(probe.time, "perf_counter", lambda: Clock.now)
    inputs, teacher = torch.zeros(items, 1), Fitting(law)
    found = probe._fitting(FABRIC, teacher, Views(inputs, inputs, torch.arange(items) % 3))
    assert found == pytest.approx(law(items))
    assert teacher.fits == fits


def test_an_estimator_is_not_fitted_to_one_class_for_its_time(monkeypatch):
    monkeypatch.setattr(probe.time, "perf_counter", lambda: Clock.now)
    inputs, labels, teacher = torch.zeros(3000, 1), torch.zeros(3000, dtype=torch.long), Fitting(lambda n: 1.0 + n)
    labels[-2] = 1
    assert probe._fitting(FABRIC, teacher, Views(inputs, inputs, labels)) == 3001
    assert teacher.fits == [3000]


def test_a_part_of_sorted_data_keeps_its_classes_and_what_both_models_share():
    inputs = torch.arange(90.0)[:, None]
    views = Views(inputs, inputs, torch.arange(90) // 30)
    part = probe._evenly(views, 9)
    assert part.labels.bincount().tolist() == [3, 3, 3]
    assert part.teacher is part.student
    torch.testing.assert_close(part.student[:, 0].long() // 30, part.labels)
    assert len(probe._evenly(views, 500).labels) == 90


class Told:
    """A scout that was told the seconds of each method."""

    start, checking = 2.0, 1.0

    def __init__(self, seconds: dict[str, dict[str, float]]) -> None:
        self.given, self.asked = seconds, []

    def seconds(self, runs):
        self.asked += [run.combo.method for run in runs]
        return {run.run_id: self.given[run.combo.method] for run in runs}


def costs(student: float, **more: float) -> dict[str, float]:
    return {"data": 1.0, "teacher": 30.0, "signals": 2.0, "student": student, "measure": 1.0, **more}


@pytest.fixture
def runs(own_catalog) -> list[Run]:
    selection = Selection(names=("wine/mlp-l->mlp-s/scratch", "wine/mlp-l->mlp-s/kd"))
    return list(make_plan(own_catalog, selection, (), Repeats(seeds=(0, 1, 2))).runs)


def estimated(runs, scout, tmp_path, monkeypatch, workers: int = 1) -> str:
    monkeypatch.setattr(dry_run, "scouting", contextmanager(lambda execution: iter([scout])))
    return dry_run.estimate(runs, Execution(tmp_path, "2026-01-01", workers=workers))


def test_the_estimate_is_the_sum_of_what_is_to_be_done(runs, tmp_path, monkeypatch):
    scout = Told({"scratch": costs(10.0), "kd": costs(20.0)})
    text = estimated(runs, scout, tmp_path, monkeypatch)
    # the workers' start and checks, the data, the teacher and its signals; three seeds of both methods
    assert text == f"about 2 min {2 + 1 + 1 + 32 + 3 * 11 + 3 * 21 - 120} s, from a short training by each method"
    assert sorted(scout.asked) == ["kd", "scratch"]


def test_runs_wait_for_their_teacher_and_share_the_workers(runs, tmp_path, monkeypatch):
    scout = Told({"scratch": costs(10.0), "kd": costs(20.0)})
    text = estimated(runs, scout, tmp_path, monkeypatch, workers=3)
    assert text.startswith(f"about 1 min {2 + 1 + 1 + 32 + (33 + 63) // 3 - 60} s")


def test_what_could_not_be_timed_is_named(runs, tmp_path, monkeypatch):
    scout = Told({"scratch": costs(10.0), "kd": costs(20.0, untimed=1.0)})
    assert estimated(runs, scout, tmp_path, monkeypatch).endswith("; what kd adds is not in it")


def test_a_methods_own_earlier_records_are_taken_and_no_others(runs, tmp_path, monkeypatch):
    done = failure_record(next(run for run in runs if run.combo.method == "kd"), "failed", "", "2026-01-01")
    done = msgspec.structs.replace(done, status="ok", error=None)
    done.cost.seconds.update(train=7.0, evaluate=1.0, teacher=99.0)
    scout = Told({"scratch": costs(10.0)})
    text = dry_run._estimate(runs, [done], replace(Execution(tmp_path, ""), workers=1), scout)
    assert scout.asked == ["scratch"]
    assert text.startswith(f"about 1 min {2 + 1 + 1 + 3 * 11 + 3 * 8 - 60} s")
