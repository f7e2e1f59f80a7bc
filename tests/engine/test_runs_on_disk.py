"""Runs on data that stays on disk: the record that data in memory gives, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import kdbench
from kdbench.engine import cost
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.disk_view import DiskView
from kdbench.engine.pairs import refusals
from kdbench.engine.probe import seconds_per_run
from kdbench.engine.run import execute_run
from kdbench.plan import Repeats, Run, make_plan
from kdbench.plugins import load_plugins
from kdbench.records import Throughput
from kdbench.select import Selection

ITEMS, SIDE = 250, 12
SETTINGS = ("recipe.epochs=2", "teacher_recipe.epochs=1", "recipe.batch_size=32", "recipe.finetune_epochs=1")


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Of two classes: bright above, or bright below."""
    stream = np.random.default_rng(0)
    labels = np.arange(ITEMS) % 2
    array = stream.integers(0, 150, (ITEMS, 3, SIDE, SIDE), dtype=np.uint8)
    for half, rows in enumerate((slice(None, SIDE // 2), slice(SIDE // 2, None))):
        array[labels == half, :, rows] += 60
    return array, labels


@pytest.fixture
def contexts(tmp_path, monkeypatch) -> dict[str, RunContext]:
    """The same pictures, by one name, in memory and on disk."""
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cost, "measure_throughput", lambda model, inputs: Throughput())  # half a second each
    array, labels = pictures()
    np.save(tmp_path / "all.npy", array)
    made = {}
    for place in ("memory", "disk"):
        catalog = load_plugins().catalog

        def read(place: str = place) -> kdbench.Data:
            inputs = array if place == "memory" else np.load(tmp_path / "all.npy", mmap_mode="r")
            return kdbench.Data(inputs, labels, ["above", "below"], preprocess="image")

        catalog.add("dataset", "halves", read, "test", {"task": "multiclass"})
        made[place] = RunContext(catalog, tmp_path / place, plugins={}, workers=1)
    return made


def planned(context: RunContext, method: str, *settings: str, teacher: str = "cnn-s", measures=()) -> Run:
    selection = Selection(
        dataset=("halves",), teacher=(teacher,), student=("cnn-s",), method=(method,), recipe=("standard",)
    )
    repeats = Repeats(seeds=(0,), measures=measures)
    return make_plan(context.catalog, selection, (*SETTINGS, *settings), repeats).runs[0]


@pytest.mark.parametrize(
    ("method", "settings", "measures"),
    [
        ("kd", (), ("robust_accuracy:0.1",)),
        ("kd", ("recipe.augment=flip,crop",), ()),
        ("fitnet", ("recipe.augment=",), ()),
        ("cs_kd", (), ()),
        ("dml", (), ()),
        ("born_again", (), ()),
        ("crd", (), ()),
        ("quant_static", (), ()),
    ],
)
def test_a_run_has_the_same_record_either_way(contexts, method, settings, measures):
    found = {}
    for place, context in contexts.items():
        run = planned(context, method, *settings, measures=measures)
        found[place] = execute_run(run, context, EpochListener())
    (record, predictions), (other, others) = found["disk"], found["memory"]
    assert record.status == other.status == "ok", record.error
    assert record.run_id == other.run_id
    for field in ("metrics", "val_metrics", "teacher_metrics", "history", "selected_epoch", "confusion"):
        assert getattr(record, field) == getattr(other, field), field
    for field in ("dataset_fingerprint", "teacher_fingerprint"):
        assert getattr(record.provenance, field) == getattr(other.provenance, field), field
    assert record.cost.flops == other.cost.flops
    assert predictions.keys() == others.keys()
    for name, array in predictions.items():
        np.testing.assert_array_equal(array, others[name])


def test_its_views_are_on_disk_for_both_models(contexts):
    data = contexts["disk"].data(planned(contexts["disk"], "kd"), torch.device("cpu"))
    for views in (data.train, data.validation, data.test):
        assert isinstance(views.student, DiskView)
        assert views.teacher is views.student


def test_the_speed_of_a_model_is_measured_on_items_from_disk(contexts, monkeypatch):
    monkeypatch.undo()
    context = contexts["disk"]
    monkeypatch.setenv("KDBENCH_CACHE", str(context.directory.parent / "cache"))
    data = context.data(planned(context, "kd"), torch.device("cpu"))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 2))
    found = cost.measure_throughput(model, data.test.student, budget_s=0.0)
    assert found.inference_samples_per_s["256"] > 0


def test_the_time_of_a_run_is_estimated(contexts):
    context = contexts["disk"]
    found = seconds_per_run(planned(context, "kd"), context)
    assert found["student"] > 0
    assert "untimed" not in found


def test_an_estimator_cannot_be_fitted_to_it_and_says_so_before_any_training(contexts):
    for place, context in contexts.items():
        run = planned(context, "kd", teacher="random-forest")
        reasons = refusals([run], context)
        if place == "memory":
            assert reasons == {}
            continue
        assert "teacher 'random-forest' cannot be fitted to data that does not fit into memory" in reasons[run.run_id]
        record, _ = execute_run(run, context, EpochListener())
        assert record.status == "failed"
        assert "takes all items of the train split at once: 150, of 0.0 GB" in record.error


def test_a_file_that_is_gone_is_a_failed_run(contexts, tmp_path: Path):
    (tmp_path / "all.npy").unlink()
    context = contexts["disk"]
    record, _ = execute_run(planned(context, "kd"), context, EpochListener())
    assert record.status == "failed"
    assert "all.npy" in record.error
