"""The conformance kit passes what keeps kdbench's promises, and names the promise that is broken."""

from __future__ import annotations

import itertools
import re
from typing import Annotated

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.engine.leaks import leaks
from kdbench.testing import check_dataset, check_method, check_model

pytest_plugins = ["pytester"]
CALLS = itertools.count()


class Base(kdbench.Method):
    needs = kdbench.needs(logits=True)

    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


class Random(Base):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits) * (1 + 0.1 * next(CALLS))


class MovesTeacher(Base):
    def step(self, trainer, batch):
        terms = super().step(trainer, batch)
        with torch.no_grad():
            next(trainer.teacher.module.parameters()).add_(0.1)
        return terms


class Idle(Base):
    def step(self, trainer, batch):
        return {"loss": torch.zeros(())}


class NoLoss(kdbench.Method):
    pass


class SearchesElsewhere(Base):
    weight: Annotated[float, kdbench.Search(2, 8)] = 1.0


def test_a_sound_method_passes():
    check_method(Base)


def test_a_method_of_several_labels_is_trained_on_several_and_models_may_be_given():
    seen = set()

    class Several(Base):
        tasks = ("multilabel",)

        def loss(self, batch, student, teacher):
            seen.add((batch.task, student.logits.shape, batch.labels.shape, batch.labels.sum().item()))
            return super().loss(batch, student, teacher)

    def model(info):
        asked.append(info)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, info.num_classes))

    asked: list[DatasetInfo] = []
    check_method(Several, student=model)
    assert seen == {("multilabel", (16, 3), (16, 3), 32.0)}
    assert {(info.task, info.input_shape) for info in asked} == {("multilabel", (1, 8, 8))}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (object, "is not a subclass of kdbench.Method"),
        (Base(), "is not a class"),
        (SearchesElsewhere, "a kdbench.Search that cannot be used"),
        (Random, "two trainings with the same seed differ"),
        (MovesTeacher, "of the teacher changed, but trains_teacher is False"),
        (Idle, "no parameter of the student changed"),
    ],
)
def test_a_broken_promise_of_a_method_is_named(method, message):
    with pytest.raises(AssertionError, match=message):
        check_method(method)


def test_a_method_without_a_loss_says_so():
    with pytest.raises(NotImplementedError, match=r"NoLoss defines neither loss\(\) nor step\(\) nor fit\(\)"):
        check_method(NoLoss)


def test_datasets():
    inputs = np.random.default_rng(0).normal(size=(30, 2))
    check_dataset(lambda: kdbench.Data(inputs, np.arange(30) % 2, ["a", "b"]))
    with pytest.raises(AssertionError, match=r"returned list, not kdbench\.Data"):
        check_dataset(lambda: [])
    with pytest.raises(AssertionError, match="gives different content"):
        check_dataset(lambda: kdbench.Data(inputs + next(CALLS), np.arange(30) % 2, ["a", "b"]))


class TestLeaks:
    """Documents in two nearly equal versions: fine where both are one group, a leak where they are not."""

    vectors = np.random.default_rng(0).normal(size=(40, 8))
    versions = np.concatenate([vectors, vectors + 1e-3])
    labels = np.tile(np.arange(40) % 2, 2)

    def data(self, **changes):
        return kdbench.Data(self.versions, self.labels, ["a", "b"], **changes)

    def alike(self, a, b):
        return cosine_similarity(self.versions[a], self.versions[b])

    def test_near_copies_in_two_splits_are_named(self):
        check_dataset(self.data)  # no two are equal
        with pytest.raises(AssertionError, match=r"(?s)of the train and the test split are near copies.*have 1\.000"):
            check_dataset(self.data, similarity=self.alike, threshold=0.999)

    def test_one_group_for_both_versions_is_no_leak(self):
        groups = np.tile(np.arange(40), 2)
        check_dataset(lambda: self.data(groups=groups), similarity=self.alike, threshold=0.999)

    def test_the_named_pair_is_one_of_two_versions(self):
        prepared = prepare("versions", self.data(), fold=None, folds=None)
        for message in leaks(self.data(), prepared, self.alike, 0.999):
            a, b = map(int, re.search(r"items (\d+) and (\d+) have", message).groups())
            assert abs(a - b) == 40

    @pytest.mark.parametrize("changed", ["copied", "grouped"])
    def test_what_a_split_shares_is_found_in_the_raw_data(self, changed):
        """Whatever made the split: here one of other data stands in for it."""
        prepared = prepare("versions", self.data(), fold=None, folds=None)
        train, test = int(prepared.train.index[3]), int(prepared.test.index[2])
        inputs, groups = self.versions.copy(), np.arange(80)
        if changed == "copied":
            inputs[test] = inputs[train]
            message = f"item {train} of the train split and item {test} of the test split are copies of each other"
        else:
            groups[test] = groups[train]
            message = f"group {groups[train]!r} is in both the train and the test split"
        assert list(leaks(kdbench.Data(inputs, self.labels, ["a", "b"], groups=groups), prepared)) == [message]

    def test_a_similarity_of_the_wrong_shape(self):
        with pytest.raises(AssertionError, match=r"similarity gave shape \(2,\)"):
            check_dataset(self.data, similarity=lambda a, b: np.zeros(2))


def test_models():
    info = DatasetInfo("made up", "multiclass", 3, (4,), 10)
    check_model(lambda info: nn.Linear(4, 3), info)
    with pytest.raises(kdbench.ModelMismatch, match=r"it returned \(2, 5\)"):
        check_model(lambda info: nn.Linear(4, 5), info)


def test_the_fixture_runs_the_command_line(pytester):
    pytester.makepyfile(
        """
        def test_it(kdbench_command):
            done = kdbench_command("list", "methods", "--json")
            assert done.exit_code == 0, done.stderr
            assert "kd" in {method["name"] for method in done.json()}
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
