"""What methods are told of a pair, and which runs are refused before anything is trained."""

from __future__ import annotations

import msgspec
import pytest

import kdbench
from kdbench.catalog import Catalog
from kdbench.engine.context import RunContext
from kdbench.engine.pairs import refusals
from kdbench.executors.checks import checks, spread
from kdbench.plan import Repeats, Run, make_plan
from kdbench.select import Selection

SEEN = []


class Watching(kdbench.Method):
    """Remembers the pairs that it is asked about; refuses layers called so."""

    needs = kdbench.needs(student_features=["first"], teacher_features=["last"])
    refuses: bool = False
    broken: bool = False

    def check(self, pair):
        SEEN.append(pair)
        if self.broken:
            raise KeyError("a fault of the plugin's")
        if self.refuses:
            raise kdbench.MethodRefused("method 'watching' will not", "because", "leave it")


@pytest.fixture
def watching(catalog: Catalog) -> Catalog:
    SEEN.clear()
    made = Catalog()
    for kind in ("dataset", "teacher", "student", "recipe"):
        for entry in catalog.entries(kind):
            made.add(kind, entry.name, entry.target, entry.plugin, entry.metadata)
    made.add("method", "watching", Watching, "here", {})
    return made


def planned(catalog: Catalog, *settings: str, student: str = "mlp-s", **repeats: object) -> tuple[Run, ...]:
    selection = Selection(dataset=("wine",), teacher=("mlp-l",), student=(student,), method=("watching",))
    return make_plan(catalog, selection, settings, Repeats(**repeats)).runs


def asked(catalog: Catalog, runs: tuple[Run, ...], directory) -> dict[str, str]:
    context = RunContext(catalog, directory, plugins={}, workers=1)
    return {run_id: text for task in checks(runs) for run_id, text in refusals(task.runs, context).items()}


def test_a_pair_is_asked_about_once_for_all_seeds_and_folds(watching, tmp_path):
    runs = planned(watching, "watching.refuses=true", folds=2)
    assert len(runs) == 10
    found = asked(watching, runs, tmp_path)
    assert len(SEEN) == len(found) == 1
    (reason,) = found.values()
    assert reason == "refused before any training: method 'watching' will not; because; leave it"
    assert spread(found, runs) == {run.run_id: reason for run in runs}


def test_what_is_served_is_not_refused_and_nothing_is_written(watching, tmp_path):
    runs = planned(watching)
    assert asked(watching, runs, tmp_path) == {}
    (pair,) = SEEN
    assert (pair.student.features, pair.teacher.features) == ({"first": (32,)}, {"last": (512,)})
    assert pair.student.path("first") == "stage1"
    assert (pair.dataset.name, pair.epochs, pair.batch_size) == ("wine", 60, 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("batch", "devices", "expected"), [(1, 1, 1), (7, 1, 7), (7, 2, 3), (3, 2, 3), (4096, 1, 106)])
def test_the_batch_size_is_what_a_process_sees(watching, tmp_path, batch, devices, expected):
    asked(watching, planned(watching, f"batch_size={batch}", devices=devices), tmp_path)
    assert [pair.batch_size for pair in SEEN] == [expected]


def test_a_model_that_does_not_fit_is_refused_by_name(watching, tmp_path):
    (reason,) = asked(watching, planned(watching, student="misbehaving:wrong_classes"), tmp_path).values()
    assert reason.startswith("refused before any training: student 'misbehaving:wrong_classes' does not fit dataset")
    assert SEEN == []


def test_faults_of_plugins_and_data_are_left_to_the_runs(watching, tmp_path):
    runs = planned(watching, "watching.broken=true")
    assert asked(watching, runs, tmp_path) == {}
    unreadable = [
        msgspec.structs.replace(run, combo=msgspec.structs.replace(run.combo, dataset="misbehaving:broken"))
        for run in runs
    ]
    assert asked(watching, tuple(unreadable), tmp_path) == {}
    assert len(SEEN) == 1


def test_runs_that_differ_in_what_check_sees_are_asked_about_apart(watching):
    (task,) = checks([*planned(watching, seeds=(0, 1)), *planned(watching, "batch_size=8"),
                      *planned(watching, "watching.refuses=true"), *planned(watching, student="mlp-m"),
                      *planned(watching, "teacher_checkpoint=teacher.safetensors"),
                      *planned(watching, "teacher_recipe.epochs=7")])  # fmt: skip
    assert len(task.runs) == 6
    assert {run.seed for run in task.runs} == {0}
