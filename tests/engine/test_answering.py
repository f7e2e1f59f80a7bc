"""Teachers that only answer: fitted once, kept, and refused where a method wants more of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from kdbench.engine.answering import only_answers
from kdbench.engine.context import EpochListener, RunContext, make_fabric
from kdbench.engine.pairs import refusals
from kdbench.engine.probe import seconds_per_run
from kdbench.engine.run import execute_run
from kdbench.engine.teachers import obtain_teacher
from kdbench.place import ALONE
from kdbench.plan import Repeats, make_plan
from kdbench.select import Selection

FITS = []


class Counted(nn.Module):
    """A smallest teacher of the contract: its answers are how often each class was seen in fitting."""

    only_answers = True
    definition = "counted"

    def __init__(self, classes):
        super().__init__()
        self.register_buffer("counts", torch.ones(classes))

    def fit(self, inputs, labels):
        FITS.append(len(labels))
        self.counts += labels.bincount(minlength=len(self.counts))

    def forward(self, inputs):
        return (self.counts / self.counts.sum()).log().expand(len(inputs), -1)


def counted(info):
    return Counted(info.num_classes)


def plan(catalog, teacher, method, *settings, **repeats):
    selection = Selection(dataset=("wine",), teacher=(teacher,), student=("mlp-s",), method=(method,))
    return make_plan(catalog, selection, ["recipe.epochs=1", *settings], Repeats(**{"seeds": (0,)} | repeats)).runs


def context(catalog, directory):
    return RunContext(catalog, directory, plugins={}, workers=1)


def test_a_module_that_fits_itself_is_fitted_once_on_the_train_split_and_kept(catalog, tmp_path):
    FITS.clear()
    (run,) = plan(catalog, "test_answering:counted", "kd")
    for _ in range(2):
        where = context(catalog, tmp_path)
        fabric = make_fabric(run, "32-true", ALONE)
        data = where.data(run, fabric.device)
        teacher = obtain_teacher(run, where, data, EpochListener())
        assert teacher.module.counts.tolist() == (1 + data.train.labels.bincount()).tolist()
    assert [len(data.train.labels)] == FITS


def test_a_run_with_an_estimator_has_its_answers_and_counts_no_parameters_of_it(catalog, tmp_path):
    (run,) = plan(catalog, "logistic", "kd", "kd.alpha=1", "kd.temperature=1")
    where = context(catalog, tmp_path)
    record, _ = execute_run(run, where, EpochListener())
    assert record.status == "ok", record.error
    assert record.cost.teacher_parameters is None
    data = where.data(run, torch.device("cpu"))
    twin = LogisticRegression(max_iter=2000).fit(data.train.teacher.numpy(), data.train.labels.numpy())
    answers = twin.predict_proba(data.test.teacher.numpy())
    kept = np.load(next(tmp_path.rglob("test_probabilities.npy")))
    np.testing.assert_allclose(kept, answers, atol=2e-6)
    accuracy = (answers.argmax(1) == data.test.labels.numpy()).mean()
    assert record.teacher_metrics["accuracy"] == pytest.approx(accuracy)


def test_an_estimate_fits_and_keeps_nothing(catalog, tmp_path):
    FITS.clear()
    (run,) = plan(catalog, "test_answering:counted", "kd")
    seconds = seconds_per_run(run, context(catalog, tmp_path))
    assert seconds["teacher"] > 0
    assert "untimed" not in seconds
    assert FITS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("fitnet", "the teacher's features 'middle'"),
        ("jacobian", "gradients through the teacher"),
        ("sobolev", "gradients through the teacher"),
        ("bss", "gradients through the teacher"),
        ("lwm", "the teacher's features 'last'"),
        ("grad_align", "the teacher's features 'middle'"),
        ("zskt", "the teacher's features 'first', 'middle', 'last'"),
        ("online_teacher", "a teacher that goes on learning"),
        ("prune_magnitude", "a network whose parts"),
        ("dafl", "teacher"),
        ("progressive", "fitted at once"),
    ],
)
def test_a_method_that_wants_more_than_answers_is_refused_by_name_before_any_training(
    catalog, tmp_path, method, wanted
):
    runs = plan(catalog, "random-forest", method)
    (reason,) = refusals(runs, context(catalog, tmp_path)).values()
    assert reason.startswith("refused before any training: ")
    assert method in reason
    assert wanted in reason
    assert list(tmp_path.iterdir()) == []


def test_an_attack_on_the_student_is_served_by_an_estimators_answers(catalog, tmp_path):
    assert refusals(plan(catalog, "random-forest", "ard"), context(catalog, tmp_path)) == {}


def test_networks_are_no_estimators():
    assert not only_answers(nn.Linear(2, 2))
