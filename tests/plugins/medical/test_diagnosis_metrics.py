"""Operating points, the AUC's interval and agreement of grades, against loops, scikit-learn and a bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, recall_score, roc_auc_score

import kdbench
from kdbench_medical import metrics


def diagnoses(seed: int, items: int, *, steps: int = 0, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 2) and labels (N,); with `steps` many are equal."""
    random = np.random.default_rng(seed)
    labels = (random.random(items) < 0.4).astype(np.int64)
    scores = 1 / (1 + np.exp(-(random.normal(size=items) + shift * (2 * labels - 1))))
    if steps:
        scores = np.round(scores * steps) / steps
    return np.stack([1 - scores, scores], axis=1), labels


def test_sensitivity_and_specificity_are_the_recalls_of_both_classes():
    probabilities, labels = diagnoses(0, 200)
    predicted = probabilities.argmax(1)
    assert metrics.sensitivity(probabilities, labels) == pytest.approx(recall_score(labels, predicted))
    assert metrics.specificity(probabilities, labels) == pytest.approx(recall_score(labels, predicted, pos_label=0))
    assert math.isnan(metrics.sensitivity(probabilities[labels == 0], labels[labels == 0]))


def by_hand(scores, labels, held, target):
    """Every threshold tried, one item after the other."""
    best, chosen = -1.0, math.inf
    for threshold in sorted({*scores.tolist(), math.inf}, reverse=True):
        hits = sum(s >= threshold for s, y in zip(scores, labels, strict=True) if y == 1) / sum(labels == 1)
        passed = sum(s < threshold for s, y in zip(scores, labels, strict=True) if y == 0) / sum(labels == 0)
        rates = hits, passed
        if rates[held] >= target and rates[1 - held] > best:
            best, chosen = rates[1 - held], threshold
    return chosen


@pytest.mark.parametrize("held", [0, 1])
@pytest.mark.parametrize("steps", [0, 5])
@pytest.mark.parametrize("target", [0.5, 0.9, 1.0])
def test_the_threshold_is_the_best_that_keeps_the_rate_on_validation(held, steps, target):
    probabilities, labels = diagnoses(3, 60, steps=steps)
    scores = probabilities[:, 1]
    assert metrics.choose_threshold(scores, labels, held, target) == by_hand(scores, labels, held, target)


def test_an_operating_point_is_chosen_on_validation_and_told_on_test():
    test, validation = diagnoses(1, 300), diagnoses(2, 100)
    threshold = by_hand(validation[0][:, 1], validation[1], 1, 0.8)
    called = test[0][:, 1] >= threshold
    assert metrics.sensitivity_at_specificity("0.8")(*test, *validation) == called[test[1] == 1].mean()
    assert metrics.achieved_specificity("0.8")(*test, *validation) == pytest.approx(1 - called[test[1] == 0].mean())
    threshold = by_hand(validation[0][:, 1], validation[1], 0, 0.9)
    called = test[0][:, 1] >= threshold
    assert metrics.specificity_at_sensitivity()(*test, *validation) == pytest.approx(1 - called[test[1] == 0].mean())
    assert metrics.achieved_sensitivity()(*test, *validation) == called[test[1] == 1].mean()


def test_rates_of_several_findings_are_averaged_over_those_that_occur():
    """Each finding with a threshold of its own; one that nobody has, or everybody, has one rate alone."""
    test, validation = ([diagnoses(seed + 10 * n, items) for n in range(3)] for seed, items in ((1, 300), (2, 100)))
    (scores, labels), chosen_on = (
        (np.stack([p[:, 1] for p, _ in split], 1), np.stack([y for _, y in split], 1)) for split in (test, validation)
    )
    for metric, of_two in (
        (metrics.sensitivity, lambda n: metrics.sensitivity(*test[n])),
        (metrics.specificity, lambda n: metrics.specificity(*test[n])),
    ):
        assert metric(scores, labels) == pytest.approx(np.mean([of_two(n) for n in range(3)]))
    for made in (metrics.sensitivity_at_specificity, metrics.achieved_specificity, metrics.specificity_at_sensitivity):
        each = [made("0.8")(*test[n], *validation[n]) for n in range(3)]
        assert made("0.8")(scores, labels, *chosen_on) == pytest.approx(np.mean(each))
    labels[:, 0], labels[:, 1] = 0, 1
    assert metrics.sensitivity(scores, labels) == pytest.approx(
        np.mean([(scores[:, 1] > 0.5).mean(), metrics.sensitivity(*test[2])])
    )
    assert math.isnan(metrics.specificity(scores[:, 1:2], labels[:, 1:2]))


def test_a_rate_that_no_finite_threshold_reaches_calls_nobody_positive():
    labels = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.1, 0.9], [0.5, 0.5], [0.4, 0.6], [0.9, 0.1]])  # a healthy one is at the top
    metric = metrics.sensitivity_at_specificity("1")
    assert metric(probabilities, labels, probabilities, labels) == 0


@pytest.mark.parametrize("text", ["0", "1.5", "nan", "high", "-1"])
def test_a_rate_that_is_none_is_refused(text):
    with pytest.raises(kdbench.InvalidParameter, match=f"sensitivity_at_specificity:{text}'.*no number in"):
        metrics.sensitivity_at_specificity(text)


def components(scores, labels):
    """Pair by pair: the area, and the part of its variance of each class, with one more item."""
    sick, healthy = scores[labels == 1].tolist(), scores[labels == 0].tolist()
    wins = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in healthy] for x in sick]
    table = np.array(wins)
    area = table.mean()
    sides = table.mean(1), table.mean(0)
    return area, [(((side - area) ** 2).sum() + area * (1 - area) / 3) / len(side) ** 2 for side in sides]


@pytest.mark.parametrize("steps", [0, 8])
def test_the_interval_of_the_auc_is_delongs_in_log_odds(steps):
    probabilities, labels = diagnoses(5, 90, steps=steps, shift=0.6)
    auc, parts = components(probabilities[:, 1], labels)
    assert auc == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
    sizes = [(labels == 1).sum(), (labels == 0).sum()]
    freedom = sum(parts) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts)) / (auc * (1 - auc))
    ends = [1 / (1 + math.exp(-(math.log(auc / (1 - auc)) + side * half))) for side in (-1, 1)]
    assert metrics.roc_auc_low(probabilities, labels) == pytest.approx(ends[0], abs=1e-10)
    assert metrics.roc_auc_high(probabilities, labels) == pytest.approx(ends[1], abs=1e-10)


def test_the_interval_is_about_as_wide_as_a_bootstraps():
    probabilities, labels = diagnoses(6, 300, shift=0.5)
    random, scores = np.random.default_rng(0), probabilities[:, 1]
    sick, healthy = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wins = scores[sick][:, None] > scores[healthy]  # the AUC is the share of pairs won; no two scores are equal
    draws = [(random.choice(len(sick), len(sick)), random.choice(len(healthy), len(healthy))) for _ in range(1000)]
    areas = [wins[ill][:, well].mean() for ill, well in draws]
    low, high = metrics.roc_auc_low(probabilities, labels), metrics.roc_auc_high(probabilities, labels)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(areas), rel=0.08)


def test_the_interval_of_several_findings_is_about_as_wide_as_a_bootstraps():
    """People are drawn, with all their findings: what one has goes with what else that one has."""
    random = np.random.default_rng(3)
    illness = random.normal(size=(400, 1))
    labels = (illness + random.normal(size=(400, 3)) > [0.3, 0.6, 0.9]).astype(np.int64)
    scores = 1 / (1 + np.exp(-(illness + labels + random.normal(size=(400, 3)))))
    low, high = metrics.roc_auc_low(scores, labels), metrics.roc_auc_high(scores, labels)
    assert low < np.mean([roc_auc_score(labels[:, n], scores[:, n]) for n in range(3)]) < high
    drawn = [random.choice(400, 400) for _ in range(400)]
    areas = [np.mean([roc_auc_score(labels[some, n], scores[some, n]) for n in range(3)]) for some in drawn]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(areas), rel=0.1)


def test_an_interval_needs_two_of_a_class_and_a_ranking_that_is_not_perfect():
    scores, labels = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.25]), np.array([0, 0, 0, 1, 1, 1])
    both = np.stack([1 - scores, scores], axis=1)
    assert 0 < metrics.roc_auc_low(both, labels) < metrics.roc_auc_high(both, labels) < 1
    for items in (slice(0, 4), slice(0, 5)):
        assert math.isnan(metrics.roc_auc_low(both[items], labels[items]))
        assert math.isnan(metrics.roc_auc_high(both[items], labels[items]))


def test_agreement_of_grades_is_scikit_learns_kappa():
    random = np.random.default_rng(7)
    labels = random.integers(0, 5, 200)
    answers = random.random((200, 5)) + 0.7 * np.eye(5)[np.clip(labels + random.integers(-1, 2, 200), 0, 4)]
    expected = cohen_kappa_score(labels, answers.argmax(1), weights="quadratic")
    assert 0.1 < expected < 0.95
    assert metrics.quadratic_kappa(answers, labels) == pytest.approx(expected, abs=1e-12)
    assert metrics.quadratic_kappa(np.eye(5)[labels], labels) == 1
    assert math.isnan(metrics.quadratic_kappa(np.eye(5)[[2, 2]], np.array([2, 2])))
