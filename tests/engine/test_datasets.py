"""Raw data made ready: what is refused, what is removed, how it is split, standardised and fingerprinted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.errors import UnknownName, UsageError

RANDOM = np.random.default_rng(0)


def some_data(items: int = 60, kinds: int = 3, **changes: object) -> kdbench.Data:
    inputs = RANDOM.normal(5, 2, size=(items, 4))
    data = kdbench.Data(inputs, np.arange(items) % kinds, [f"c{number}" for number in range(kinds)])
    return replace(data, **changes)


def ready(data: object, fold: int | None = None, folds: int | None = None):
    return prepare("mine", data, fold=fold, folds=folds)


def parts(dataset) -> list[list[int]]:
    return [part.index.tolist() for part in (dataset.train, dataset.validation, dataset.test)]


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"classes": ["a"]}, "declares 1 class"),
            ({"classes": ["a", "b", "a"]}, "declares class 'a' twice"),
            ({"task": "segmentation"}, "has task 'segmentation'"),
            ({"task": "span-qa"}, "labels are not two integers per item"),
            ({"task": "binary"}, "is binary but declares 3 classes"),
            ({"inputs": {}}, "has no inputs"),
            ({"inputs": np.zeros((60, 0))}, "view 'input' is empty"),
            ({"inputs": np.zeros(60)}, "has no columns"),
            ({"inputs": np.full((60, 2), "a")}, "is not numeric"),
            ({"inputs": np.zeros((59, 2))}, "has 59 items, labels 60"),
            ({"preprocess": "image"}, "does not hold images"),
            ({"preprocess": "whiten"}, "unknown preprocessing 'whiten'"),
            ({"preprocess": {"other": "none"}}, "says nothing of how to preprocess view 'input'"),
            ({"labels": np.zeros(60, dtype=int)}, "all 60 items are of 1 class"),
            ({"labels": np.arange(60) % 4}, "item 3 has label 3"),
            ({"labels": np.arange(60) % 3 - 1}, "item 0 has label -1"),
            ({"labels": np.arange(60) % 3 / 2}, "labels are not one integer per item"),
            ({"labels": np.zeros((60, 2), dtype=int)}, "labels are not one integer per item"),
            ({"split": np.full(60, "train")[:10]}, "has 10 items, labels 60"),
            ({"split": np.full(60, "dev")}, "unknown official split 'dev'"),
            ({"split": np.full(60, "test")}, "its train split has no item|needs at least 2|is empty"),
            ({"groups": np.zeros(60)}, "its train split is empty"),
            ({"groups": np.zeros(3)}, "groups has 3 items"),
        ],
    )
    def test_each_is_told_by_name_and_place(self, changes, message):
        with pytest.raises(kdbench.InvalidData, match=message) as caught:
            ready(some_data(**changes))
        assert "'mine'" in str(caught.value)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @given(item=st.integers(0, 59), column=st.integers(0, 3))
    def test_a_value_that_is_not_finite_is_found_where_it_is(self, bad, item, column):
        data = some_data()
        data.inputs[item, column] = bad
        with pytest.raises(kdbench.InvalidData, match=f"item {item}, column {column} is {bad}"):
            ready(data)

    def test_what_is_no_data(self):
        with pytest.raises(kdbench.InvalidData, match=r"gave list, not kdbench\.Data"):
            ready([1, 2])

    def test_numbers_that_float32_cannot_hold(self):
        with pytest.raises(kdbench.InvalidData, match="values that float32 cannot hold"):
            ready(some_data(inputs=RANDOM.normal(size=(60, 2)) * 1e300, preprocess="none"))

    def test_a_group_that_the_official_split_tears_apart(self):
        split = np.array(["train", "train", "test", "validation"] * 15)
        with pytest.raises(kdbench.InvalidData, match="a group is in both the train and the"):
            ready(some_data(split=split, groups=np.arange(60) // 4))

    @pytest.mark.parametrize(("fold", "folds"), [(0, 1), (3, 3), (-1, 3), (0, None), (None, 3)])
    def test_a_fold_that_there_is_not(self, fold, folds):
        with pytest.raises(kdbench.InvalidData, match="fold"):
            ready(some_data(), fold, folds)


class TestSplits:
    @settings(max_examples=30, deadline=None)
    @given(items=st.integers(15, 200), classes=st.integers(2, 3))
    def test_without_an_official_one_every_class_is_shared_3_1_1(self, items, classes):
        dataset = ready(some_data(items, classes))
        train, validation, test = parts(dataset)
        assert sorted(train + validation + test) == list(range(items))
        for number in range(classes):
            of_class = np.flatnonzero(np.arange(items) % classes == number)
            shares = [len(np.intersect1d(of_class, part)) for part in (train, validation, test)]
            assert abs(shares[1] - len(of_class) / 5) <= 1
            assert abs(shares[2] - len(of_class) / 5) <= 1

    def test_it_depends_on_the_data_alone(self):
        data = some_data()
        assert parts(ready(data)) == parts(ready(data))

    def test_an_official_test_split_is_kept_and_validation_comes_from_train(self):
        split = np.array(["train"] * 40 + ["test"] * 20)
        train, validation, test = parts(ready(some_data(split=split)))
        assert test == list(range(40, 60))
        assert len(validation) == 4
        assert sorted(train + validation) == list(range(40))

    def test_a_whole_official_split_is_kept(self):
        split = np.array(["train"] * 30 + ["validation"] * 12 + ["test"] * 18)
        train, validation, test = parts(ready(some_data(split=split)))
        assert (len(train), len(validation), len(test)) == (30, 12, 18)

    @given(folds=st.integers(2, 6))
    @settings(max_examples=5, deadline=None)
    def test_folds_test_every_item_once_and_share_nothing(self, folds):
        data = some_data()
        tested = []
        for fold in range(folds):
            train, validation, test = parts(ready(data, fold, folds))
            assert sorted(train + validation + test) == list(range(60))
            tested += test
        assert sorted(tested) == list(range(60))

    @pytest.mark.parametrize("folds", [None, 4])
    def test_a_group_stays_on_one_side(self, folds):
        groups = np.repeat(np.arange(20), 3)
        dataset = ready(some_data(groups=groups), None if folds is None else 1, folds)
        sides = [{groups[item] for item in part} for part in parts(dataset)]
        assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides)) == 20


class TestCleaning:
    def test_copies_are_removed_from_training_before_test(self):
        data = some_data(split=np.array(["train"] * 40 + ["test"] * 20))
        data.inputs[3] = data.inputs[45]
        data.labels[3] = data.labels[45]
        dataset = ready(data)
        assert dataset.removed == 1
        assert 3 not in dataset.train.index.tolist() + dataset.validation.index.tolist()
        assert 45 in dataset.test.index.tolist()

    def test_equal_items_with_different_labels_are_all_removed(self):
        data = some_data()
        data.inputs[[4, 5, 9]] = data.inputs[4]
        dataset = ready(data)
        assert dataset.removed == 3

    def test_minus_zero_is_zero(self):
        data = some_data(inputs=np.eye(60))
        data.inputs[30] = data.inputs[0] * np.where(data.inputs[0] == 0, -1, 1)
        assert ready(data).removed == 1

    def test_items_that_differ_in_one_view_are_kept(self):
        same = np.ones((60, 2))
        views = {"one": same, "two": np.arange(60.0)[:, None]}
        assert ready(some_data(inputs=views)).removed == 0


class TestPreprocessing:
    def test_standardisation_is_scikit_learns_fitted_on_train_only(self):
        data = some_data()
        dataset = ready(data)
        scaler = StandardScaler().fit(data.inputs[dataset.train.index.numpy()])
        for part in (dataset.train, dataset.validation, dataset.test):
            expected = scaler.transform(data.inputs[part.index.numpy()])
            np.testing.assert_allclose(part.inputs["input"].numpy(), expected, rtol=1e-5, atol=1e-6)

    def test_images_are_standardised_by_channel(self):
        images = RANDOM.integers(0, 256, (60, 3, 5, 4), dtype=np.uint8)
        dataset = ready(some_data(inputs=images, preprocess="image"))
        train = images[dataset.train.index.numpy()] / 255
        mean, deviation = train.mean((0, 2, 3)), train.std((0, 2, 3))
        expected = (images[dataset.test.index.numpy()] / 255 - mean[:, None, None]) / deviation[:, None, None]
        np.testing.assert_allclose(dataset.test.inputs["input"].numpy(), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("scale", [255, 1])
    def test_given_statistics_of_channels_are_taken_as_they_are(self, scale):
        raw = RANDOM.integers(0, 256, (60, 3, 5, 4), dtype=np.uint8)
        images = raw if scale == 255 else raw / 255
        given = ((0.5, 0.25, 0.0), (0.2, 0.4, 1.0))
        dataset = ready(some_data(inputs=images, preprocess="image", channels=given))
        mean, deviation = (np.array(values)[:, None, None] for values in given)
        expected = (images[dataset.test.index.numpy()] / scale - mean) / deviation
        np.testing.assert_allclose(dataset.test.inputs["input"].numpy(), expected, rtol=1e-4, atol=1e-5)

    def test_given_statistics_of_channels_change_the_fingerprint(self):
        data = some_data(inputs=RANDOM.integers(0, 256, (60, 5, 4), dtype=np.uint8), preprocess="image")
        found = {ready(replace(data, channels=given)).fingerprint for given in (None, ([0.5], [0.2]), ([0.5], [0.1]))}
        assert len(found) == 3

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"channels": ([0.5], [0.2])}, r"gives 1 means and 1 deviations.*view 'input' has 3 channels"),
            ({"channels": ([0.5] * 3, [0.2] * 2)}, "gives 3 means and 2 deviations"),
            ({"channels": ([0.5] * 3, [0.2] * 2 + [0.0])}, "cannot be standardised"),
            ({"channels": ([np.nan] * 3, [0.2] * 3)}, "cannot be standardised"),
            ({"channels": ([0.5] * 3,)}, "is not two lists of numbers"),
            ({"channels": (0.5, 0.2)}, "is not two lists of numbers"),
            ({"channels": ([0.5] * 3, [0.2] * 3), "preprocess": "none"}, "it has no images"),
        ],
    )
    def test_statistics_that_do_not_fit_the_images_are_refused(self, changes, said):
        images = RANDOM.integers(0, 256, (60, 3, 5, 4), dtype=np.uint8)
        with pytest.raises(kdbench.InvalidData, match=rf"(?s)'mine'.*{said}"):
            ready(some_data(**{"inputs": images, "preprocess": "image", **changes}))

    def test_grey_images_get_their_channel(self):
        dataset = ready(some_data(inputs=RANDOM.integers(0, 256, (60, 5, 4), dtype=np.uint8), preprocess="image"))
        assert dataset.info(None).input_shape == (1, 5, 4)

    def test_a_constant_column_is_zero_also_with_a_large_offset(self):
        data = some_data()
        data.inputs[:, 1] = 1e9 + 0.1
        dataset = ready(data)
        assert bool((dataset.train.inputs["input"][:, 1] == 0).all())

    def test_large_offsets_keep_their_precision(self):
        column = 1e9 + np.arange(60.0)
        dataset = ready(some_data(inputs=column[:, None]))
        assert float(dataset.train.inputs["input"].std(correction=0)) == pytest.approx(1, abs=1e-3)

    def test_none_leaves_values_alone(self):
        data = some_data(preprocess="none")
        dataset = ready(data)
        np.testing.assert_array_equal(
            dataset.test.inputs["input"].numpy(), data.inputs[dataset.test.index.numpy()].astype(np.float32)
        )


class TestFingerprint:
    def test_it_follows_content_and_not_the_reading(self):
        data = some_data()
        same = replace(data, inputs=data.inputs.copy(order="F"), source="elsewhere")
        assert ready(data).fingerprint == ready(same).fingerprint

    @pytest.mark.parametrize("what", ["inputs", "labels", "classes", "split", "groups", "preprocess"])
    def test_it_follows_everything_that_decides_the_numbers(self, what):
        data = some_data()
        changes = {
            "inputs": data.inputs + np.eye(60, 4),
            "labels": (data.labels + 1) % 3,
            "classes": ["x", "y", "z"],
            "split": np.array(["train", "validation", "test", "test"] * 15),
            "groups": np.arange(60) // 2,
            "preprocess": "none",
        }
        assert ready(data).fingerprint != ready(replace(data, **{what: changes[what]})).fingerprint

    def test_folds_share_it(self):
        data = some_data()
        assert ready(data).fingerprint == ready(data, 0, 3).fingerprint


def test_a_view_is_asked_for_where_there_are_several():
    views = {"one": RANDOM.normal(size=(60, 2)), "two": RANDOM.normal(size=(60, 3))}
    dataset = ready(some_data(inputs=views))
    assert dataset.info("two").input_shape == (3,)
    with pytest.raises(UsageError, match="has several views: one, two"):
        dataset.view(None)
    with pytest.raises(UnknownName, match="has no view 'tow'"):
        dataset.view("tow")
