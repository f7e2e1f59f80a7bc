"""Every metric against scikit-learn, on random answers with ties and absent classes."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from kdbench.engine.metrics import confusion, roc_points, score, score_tokens
from kdbench.engine.multilabel_metrics import score_labels
from kdbench.engine.retrieval_metrics import score_search, score_verification
from kdbench.engine.span_metrics import score_spans
from kdbench.errors import Diverged
from kdbench.metric_info import METRICS


@st.composite
def answers(draw, least_classes=2):
    """Probabilities and labels; coarse ones have many ties, few labels leave classes absent."""
    classes = draw(st.integers(least_classes, 8))
    items = draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        weights = random.integers(1, draw(st.integers(2, 4)), (items, classes)).astype(float)
    else:
        weights = random.gamma(0.3, size=(items, classes)) + 1e-12
    present = draw(st.integers(1, classes))
    return weights / weights.sum(1, keepdims=True), random.integers(0, present, items)


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@given(answers())
def test_threshold_metrics_equal_scikit_learns(case):
    p, y = case
    got, predicted = score(p, y), p.argmax(1)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(y, predicted))
    assert got["balanced_accuracy"] == pytest.approx(quietly(sk.balanced_accuracy_score, y, predicted))
    for name, function in {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}.items():
        for average in ("macro", "micro", "weighted"):
            expected = function(y, predicted, average=average, zero_division=0)
            assert got[f"{name}_{average}"] == pytest.approx(expected), (name, average)


@given(answers())
def test_log_loss_and_brier_equal_scikit_learns(case):
    p, y = case
    got, classes = score(p, y), range(p.shape[1])
    assert got["log_loss"] == pytest.approx(sk.log_loss(y, p, labels=list(classes)))
    one_hot = np.eye(p.shape[1])[y]
    assert got["brier"] == pytest.approx(
        sk.brier_score_loss(y, p[:, 1], pos_label=1) if len(classes) == 2 else ((p - one_hot) ** 2).sum(1).mean()
    )


@given(answers(least_classes=3))
def test_ranking_metrics_average_scikit_learns_over_the_classes_that_are_neither_absent_nor_alone(case):
    p, y = case
    rankable = [c for c in range(p.shape[1]) if 0 < (y == c).sum() < len(y)]
    got = score(p, y)
    if not rankable:
        assert got["roc_auc"] is None
        assert got["average_precision"] is None
        return
    assert got["roc_auc"] == pytest.approx(np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in rankable]))
    expected = np.mean([sk.average_precision_score(y == c, p[:, c]) for c in rankable])
    assert got["average_precision"] == pytest.approx(expected)
    if len(rankable) == p.shape[1]:
        assert got["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))


@given(answers())
def test_of_two_classes_the_second_is_the_positive_one(case):
    p, y = case
    p, y = p[:, :2] / p[:, :2].sum(1, keepdims=True), y % 2
    got = score(p, y)
    if 0 < y.sum() < len(y):
        assert got["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
        assert got["average_precision"] == pytest.approx(sk.average_precision_score(y, p[:, 1]))
    else:
        assert got["roc_auc"] is None


@given(answers(least_classes=6))
def test_top_5_equals_scikit_learns_also_where_classes_tie(case):
    p, y = case
    expected = sk.top_k_accuracy_score(y, p, k=5, labels=range(p.shape[1]))
    assert score(p, y)["top5_accuracy"] == pytest.approx(expected)


def test_top_5_is_left_out_where_it_says_nothing():
    assert "top5_accuracy" not in score(np.full((4, 5), 0.2), np.zeros(4, dtype=np.int64))


@given(answers())
def test_calibration_error_is_the_papers_sum_over_bins(case):
    p, y = case
    confidence, right, total = p.max(1), p.argmax(1) == y, 0.0
    for b in range(15):
        inside = [i for i in range(len(y)) if b / 15 < confidence[i] <= (b + 1) / 15]
        if inside:
            total += len(inside) / len(y) * abs(np.mean(right[inside]) - np.mean(confidence[inside]))
    # A confidence on a bin's edge may be rounded to either side; it moves the sum by its own gap at most.
    edges = np.isclose(confidence * 15, np.round(confidence * 15), rtol=0, atol=1e-9).any()
    if not edges:
        assert score(p, y)["ece"] == pytest.approx(total, rel=1e-10, abs=1e-12)


@given(answers(), answers())
def test_agreement_counts_equal_predictions(one, other):
    p, q = one[0], other[0]
    items, classes = min(len(p), len(q)), min(p.shape[1], q.shape[1])
    p, q, y = p[:items, :classes], q[:items, :classes], one[1][:items] % classes
    assert score(p, y, teacher_probabilities=q)["agreement"] == np.mean(p.argmax(1) == q.argmax(1))
    assert "agreement" not in score(p, y)


@given(answers())
def test_confusion_equals_scikit_learns(case):
    p, y = case
    expected = sk.confusion_matrix(y, p.argmax(1), labels=range(p.shape[1]))
    assert confusion(p, y, p.shape[1]) == expected.tolist()


@given(answers())
def test_roc_points_equal_scikit_learns(case):
    p, y = case
    for c in range(p.shape[1]):
        expected = quietly(sk.roc_curve, y == c, p[:, c], drop_intermediate=True)
        for got, want in zip(roc_points(p, y, c), expected, strict=True):
            np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_answers_that_are_not_finite_are_divergence(bad):
    p = np.full((3, 2), 0.5)
    p[1, 0] = bad
    with pytest.raises(Diverged, match="item 1 of the split"):
        score(p, np.zeros(3, dtype=np.int64))


def test_every_metric_is_described_and_every_description_is_of_a_metric():
    p = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    labels = np.arange(50) % 7
    found = [each(p, labels, teacher_probabilities=p) for each in (score, score_tokens)]
    found.append(score_labels(p, (p > 0.1).astype(int)))
    found += [score_search(p, p, labels), score_verification(p, labels)]
    ends, spans = p.reshape(25, 2, 7), np.sort(labels.reshape(25, 2), axis=1)
    found.append(score_spans(ends, spans, teacher_ends=ends))
    assert set().union(*found) == set(METRICS)
