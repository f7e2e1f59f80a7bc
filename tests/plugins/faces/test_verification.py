"""The verification task on ORL: people are in one split alone."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.engine.datasets import prepare
from kdbench.testing import check_dataset
from kdbench_data.faces import orl_pictures
from kdbench_faces.pictures import orl_verification


@pytest.fixture(scope="module")
def data():
    return orl_verification()


def test_nobody_is_in_two_splits_and_the_counts_are_as_stated(data):
    dataset = prepare("orl-verification", data, fold=None, folds=None)
    people = [set(split.labels.tolist()) for split in (dataset.train, dataset.validation, dataset.test)]
    assert list(map(len, people)) == [24, 8, 8]
    assert len(set.union(*people)) == 40
    one, other = np.triu_indices(len(dataset.test.labels), 1)
    same = dataset.test.labels[one] == dataset.test.labels[other]
    assert (len(same), int(same.sum())) == (3160, 360)


def test_folds_hold_out_people_each_once(data):
    tested = []
    for fold in range(5):
        dataset = prepare("orl-verification", data, fold=fold, folds=5)
        parts = [set(split.labels.tolist()) for split in (dataset.train, dataset.validation, dataset.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 40
        tested += sorted(parts[2])
    assert sorted(tested) == list(range(40))


def test_the_views_show_the_same_pictures(data):
    pictures, people, _ = orl_pictures("orl-verification")
    views = data.views()
    np.testing.assert_array_equal(data.labels, people)
    np.testing.assert_array_equal(views["photo"][:, 0, :112, 20:112], pictures)
    assert int(views["photo"].sum()) == int(pictures.sum())  # black elsewhere
    corner = pictures[3, 10:12, 4:6].astype(float).mean() / 255
    assert views["small"][3, 0, 5, 2] == pytest.approx(corner)
    check_dataset(lambda: data)
