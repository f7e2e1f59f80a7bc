"""Estimators of scikit-learn as teachers: beside the library itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import ensemble, linear_model, neighbors
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfTransformer

import kdbench
from kdbench.engine.bank import weights_fingerprint
from kdbench.engine.checkpoints import load_weights, save_weights
from kdbench_estimators import fitted
from kdbench_estimators.answering import FLOOR

INPUTS, LABELS = (torch.from_numpy(array) for array in load_iris(return_X_y=True))
INPUTS = INPUTS.float()
INFO = kdbench.DatasetInfo("iris", "multiclass", 3, (4,), 150)
TWINS = {
    "random_forest": ensemble.RandomForestClassifier(200, min_samples_leaf=2, random_state=0),
    "gradient_boosting": ensemble.HistGradientBoostingClassifier(random_state=0),
    "logistic": linear_model.LogisticRegression(max_iter=2000),
    "nearest_neighbours": neighbors.KNeighborsClassifier(15),
}


def small_forest(info=INFO):
    return fitted.by_path("ensemble.RandomForestClassifier?n_estimators=5", info)


def few_rounds(info):
    return fitted.by_path("ensemble.HistGradientBoostingClassifier?max_iter=3", info)


@pytest.mark.parametrize("name", TWINS)
def test_the_softmax_of_its_logits_is_what_the_library_says(name):
    teacher = getattr(fitted, name)(INFO)
    assert teacher(INPUTS[:2]).softmax(1).tolist() == [[pytest.approx(1 / 3)] * 3] * 2, "before it is fitted"
    teacher.fit(INPUTS, LABELS)
    expected = TWINS[name].fit(INPUTS.numpy(), LABELS.numpy()).predict_proba(INPUTS.numpy())
    expected = np.maximum(expected, FLOOR)
    answers = teacher(INPUTS).double().softmax(1).numpy()
    np.testing.assert_allclose(answers, expected / expected.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("name", ["small_forest", "few_rounds", "logistic", "nearest_neighbours"])
def test_a_kept_teacher_answers_the_same_and_two_fits_are_the_same_bytes(name, tmp_path):
    make = {"small_forest": small_forest, "few_rounds": few_rounds}.get(name) or getattr(fitted, name)
    one, other, loaded = make(INFO), make(INFO), make(INFO)
    one.fit(INPUTS, LABELS)
    other.fit(INPUTS.clone(), LABELS.clone())
    assert weights_fingerprint(one) == weights_fingerprint(other)
    save_weights(one, tmp_path / "model.safetensors")
    load_weights(loaded, tmp_path / "model.safetensors", name)
    assert loaded(INPUTS).equal(one(INPUTS))
    assert weights_fingerprint(loaded) == weights_fingerprint(one)
    assert one.definition == loaded.definition


def test_images_are_rows_and_a_class_that_it_was_not_shown_has_the_least_probability():
    teacher = small_forest(kdbench.DatasetInfo("squares", "multiclass", 4, (1, 2, 2), 150))
    teacher.fit(INPUTS.view(-1, 1, 2, 2), LABELS + (LABELS > 0))  # classes 0, 2 and 3
    flat = small_forest()
    flat.fit(INPUTS, LABELS)
    answers = teacher(INPUTS.view(-1, 1, 2, 2))
    assert answers.argmax(1).equal(flat(INPUTS).argmax(1) + (flat(INPUTS).argmax(1) > 0))
    assert answers[:, 1].tolist() == [pytest.approx(np.log(FLOOR))] * 150


def test_a_gradient_through_it_is_refused_by_name():
    inputs = INPUTS[:3].clone().requires_grad_()
    with pytest.raises(kdbench.MethodRefused, match="'logistic' has no gradients"):
        fitted.logistic(INFO)(inputs).sum().backward()


def test_settings_reach_the_estimator_and_its_randomness_is_fixed():
    made = fitted.by_path("ensemble.ExtraTreesClassifier?n_estimators=7&criterion=entropy&max_depth=None", INFO)
    params = made.estimator.get_params()
    assert (params["n_estimators"], params["criterion"], params["max_depth"]) == (7, "entropy", None)
    assert params["random_state"] == 0
    assert fitted.by_path("sklearn.naive_bayes.GaussianNB", INFO).definition != made.definition


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("ensemble.NoForest", kdbench.InvalidParameter, "no class 'ensemble.NoForest'"),
        ("no_such_package.Forest", kdbench.InvalidParameter, "no_such_package"),
        ("ensemble.RandomForestClassifier?trees=3", kdbench.InvalidParameter, "trees"),
        ("ensemble.RandomForestClassifier?n_estimators", kdbench.InvalidParameter, "no list of settings"),
        ("svm.LinearSVC", kdbench.ModelMismatch, "LinearSVC has no predict_proba"),
    ],
)
def test_a_class_that_cannot_be_had_is_refused_by_name(text, error, message):
    with pytest.raises(error, match=message):
        fitted.by_path(text, INFO)


def test_a_value_that_the_library_refuses_is_told_with_the_teachers_name():
    teacher = fitted.by_path("ensemble.RandomForestClassifier?n_estimators=-1", INFO)
    with pytest.raises(kdbench.ModelMismatch, match=r"n_estimators=-1' cannot be fitted"):
        teacher.fit(INPUTS, LABELS)


def test_a_task_without_one_class_for_each_item_is_refused():
    info = kdbench.DatasetInfo("text", "language-modeling", 9, (5,), 10)
    with pytest.raises(kdbench.ModelMismatch, match="its task is 'language-modeling'"):
        fitted.random_forest(info)


def test_tfidf_is_of_how_often_tokens_are_in_an_item_without_padding(tmp_path):
    stream = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 12, (60, 9), generator=stream).float()
    labels = ((tokens == 3).sum(1) > (tokens == 5).sum(1)).long()
    info = kdbench.DatasetInfo("terms", "binary", 2, (9,), 60)
    teacher = fitted.tfidf_logistic(info)
    teacher.fit(tokens, labels)
    counts = np.array([[int((item == token).sum()) * (token > 0) for token in range(12)] for item in tokens])
    rows = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    twin = linear_model.LogisticRegression(C=10, max_iter=500).fit(rows, labels.numpy())
    np.testing.assert_allclose(teacher(tokens).softmax(1), twin.predict_proba(rows), rtol=1e-4)
    assert teacher.estimator[-1].n_features_in_ == 11, "tokens 1 to 11: no weight of what no item has"
    never_seen = torch.where(tokens == 0, 99.0, tokens)
    assert teacher(never_seen).equal(teacher(tokens))
    save_weights(teacher, tmp_path / "model.safetensors")
    loaded = fitted.tfidf_logistic(info)
    load_weights(loaded, tmp_path / "model.safetensors", "tfidf")
    assert loaded(tokens).equal(teacher(tokens))
    with pytest.raises(kdbench.ModelMismatch, match="needs token indices"):
        teacher(tokens - 1)
