"""Compression in whole runs: what the record says is of the model that is scored, and is kept with its predictions."""

from __future__ import annotations

import pytest

import kdbench
from kdbench.engine import run as engine_run
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.run import execute_run
from kdbench.job import remaining
from kdbench.plan import Repeats, make_plan
from kdbench.report.leaderboard import leaderboards
from kdbench.select import Selection
from kdbench.store import Store

METHODS = ("scratch", "prune_magnitude", "low_rank", "quant_static", "distil_then_quantise")
SETTINGS = ("recipe.epochs=2", "recipe.select=last", "teacher_recipe.epochs=2", "distil_then_quantise.scheme=dynamic")


@pytest.fixture(scope="module")
def plan(catalog):
    selection = Selection(
        dataset=("digits",), teacher=("mlp-m",), student=("mlp-s",), method=METHODS, recipe=("standard",)
    )
    return make_plan(catalog, selection, SETTINGS, Repeats(seeds=(0,)))


@pytest.fixture(scope="module")
def store(plan, catalog, tmp_path_factory) -> Store:
    directory = tmp_path_factory.mktemp("results")
    context, store = RunContext(catalog, directory, plugins={}, workers=1), Store.open(directory)
    for run in plan.runs:
        store.write(*execute_run(run, context, EpochListener()))
    return store


@pytest.fixture(scope="module")
def records(store) -> dict[str, kdbench.Record]:
    found = {record.method: record for record in store.records()}
    assert {record.error for record in found.values()} == {None}
    return found


def test_costs_are_those_of_the_compressed_model(records):
    teacher = records["scratch"].cost.teacher_parameters
    student = records["scratch"].cost
    cost = {name: record.cost for name, record in records.items()}
    assert cost["prune_magnitude"].parameters == teacher
    biases = 128 + 128 + 10
    weights = teacher - biases
    assert cost["prune_magnitude"].nonzero_parameters <= weights - round(0.8 * weights) + biases
    assert cost["prune_magnitude"].nonzero_parameters > 0.9 * (weights - round(0.8 * weights))
    assert cost["prune_magnitude"].bytes == 4 * teacher, "zeros are stored"
    assert cost["low_rank"].parameters < 0.75 * teacher
    assert cost["low_rank"].flops < 0.75 * cost["prune_magnitude"].flops
    assert cost["quant_static"].parameters == teacher
    assert cost["quant_static"].bytes < 0.4 * cost["prune_magnitude"].bytes
    assert cost["quant_static"].flops == cost["prune_magnitude"].flops
    assert cost["distil_then_quantise"].parameters == student.parameters
    assert cost["distil_then_quantise"].bytes < 0.4 * student.bytes
    for record in records.values():
        assert record.throughput.latency_ms_p50 > 0
        assert set(record.throughput.inference_samples_per_s) == {"1", "64", "256"}


def test_the_record_says_what_the_model_was_made_from(records):
    assert {name: record.student_source for name, record in records.items()} == {
        "scratch": "student", "distil_then_quantise": "student",
        "prune_magnitude": "teacher", "low_rank": "teacher", "quant_static": "teacher",
    }  # fmt: skip
    assert records["quant_static"].history == []
    assert records["quant_static"].selected_epoch is None
    assert records["quant_static"].throughput.train_samples_per_s is None


def test_predictions_are_kept_and_are_those_of_the_metrics(records, store):
    for record in records.values():
        kept = store.predictions(record.run_id)
        accuracy = (kept["probabilities"].argmax(1) == kept["labels"]).mean()
        assert accuracy == pytest.approx(record.metrics["accuracy"])


def test_what_is_done_is_not_run_again(plan, store):
    assert remaining(plan, store, fresh=False, warn=pytest.fail) == []


def test_one_leaderboard_has_them_beside_the_student(records):
    (board,) = leaderboards(records.values())
    assert {row.method: row.student_source for row in board.rows} == {
        name: record.student_source for name, record in records.items()
    }
    assert board.student_parameters == records["scratch"].cost.parameters
    assert any(note.startswith("rows of the teacher, made smaller") for note in board.notes)


def test_a_fault_in_finish_is_told_as_the_methods(catalog, plan, store, monkeypatch):
    def fails(self, trainer):
        raise ValueError("no more")

    run = next(run for run in plan.runs if run.combo.method == "scratch")
    method = catalog.find("method", "scratch").load()
    monkeypatch.setattr(method, "finish", fails)
    monkeypatch.setattr(engine_run.traceback, "print_exc", lambda: None)
    context = RunContext(catalog, store.directory, plugins={}, workers=1)
    record, predictions = execute_run(run, context, EpochListener())
    assert record.status == "failed"
    assert "method 'scratch' raised" in record.error
    assert "ValueError: no more" in record.error
    assert predictions == {}
