"""Each statistic beside an independent computation of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from kdbench import statistics
from kdbench.statistics.across import rank_quantile

meta_analysis = pytest.importorskip("statsmodels.stats.meta_analysis")
multitest = pytest.importorskip("statsmodels.stats.multitest")
proportion = pytest.importorskip("statsmodels.stats.proportion")
tables = pytest.importorskip("statsmodels.stats.contingency_tables")
posthocs = pytest.importorskip("scikit_posthocs")

EXACT = {"rel": 1e-10, "abs": 1e-10}
values = st.lists(st.integers(0, 10_000).map(lambda n: n / 10_000), min_size=2, max_size=12)
two_samples = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=12)


@given(two_samples)
def test_the_paired_test_and_its_effect_size_are_scipys(counts):
    first, second = (np.array(column) / 1000 for column in zip(*counts, strict=True))
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    found = statistics.paired_test(pairs)
    if len({a - b for a, b in counts}) == 1:
        assert found is None
        assert statistics.cohen_dz(pairs) is None
        return
    expected = stats.ttest_rel(first, second)
    assert (found.t, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), **EXACT)
    assert statistics.cohen_dz(pairs) == pytest.approx((first - second).mean() / (first - second).std(ddof=1), **EXACT)


@given(values, values)
def test_hedges_g_is_that_of_statsmodels(first, second):
    found = statistics.hedges_g(first, second)
    if len(set(first)) == len(set(second)) == 1:
        assert found is None
        return
    samples = [(np.mean(s), np.std(s, ddof=1), len(s)) for s in (first, second)]
    expected, _ = meta_analysis.effectsize_smd(*samples[0], *samples[1])
    # statsmodels corrects with the approximation 1 - 3 / (4 n - 9); its factor is replaced by the exact one
    m = len(first) + len(second) - 2
    exact = math.gamma(m / 2) / (math.sqrt(m / 2) * math.gamma((m - 1) / 2))
    assert found == pytest.approx(expected / (1 - 3 / (4 * (m + 2) - 9)) * exact, **EXACT)


@pytest.mark.parametrize(
    "p_values", [[0.03], [0.01, 0.04, 0.03], [0.5, 0.5, 0.0, 1.0], [k**2 / 400 for k in range(20)]]
)
def test_holms_correction_is_that_of_statsmodels(p_values):
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert statistics.holm(p_values) == pytest.approx(expected.tolist(), **EXACT)


def test_a_missing_p_value_stays_missing_and_does_not_count():
    assert statistics.holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(2, 9), st.booleans())
def test_friedman_and_nemenyi_are_those_of_scipy_and_scikit_posthocs(seed, methods, datasets, tied):
    scores = np.random.default_rng(seed).normal(size=(datasets, methods))
    scores = scores.round(0) if tied else scores
    if all(len(set(row)) == 1 for row in scores):
        return
    found = statistics.friedman(scores)
    expected = stats.friedmanchisquare(*scores.T)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), **EXACT)
    assert statistics.nemenyi(scores) == pytest.approx(posthocs.posthoc_nemenyi_friedman(scores).to_numpy(), **EXACT)
    assert statistics.average_ranks(scores) == pytest.approx(stats.rankdata(-scores, axis=1).mean(axis=0), **EXACT)
    flipped = statistics.average_ranks(-scores, higher_is_better=False)
    assert flipped == pytest.approx(statistics.average_ranks(scores), **EXACT)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_values_are_those_printed_by_demsar(methods, q):
    assert rank_quantile(methods) == pytest.approx(q, abs=1.1e-3)
    assert statistics.critical_difference(methods, 14) == pytest.approx(
        rank_quantile(methods) * math.sqrt(methods * (methods + 1) / 84), **EXACT
    )


def test_two_ranks_as_far_apart_as_the_critical_difference_have_a_p_value_of_alpha():
    scores = np.random.default_rng(0).normal(size=(12, 4)) + np.arange(4)
    ranks, p_values = statistics.average_ranks(scores), statistics.nemenyi(scores)
    apart = np.abs(ranks[:, None] - ranks) > statistics.critical_difference(4, 12)
    assert (apart == (p_values < 0.05)).all()


def test_methods_that_are_equal_everywhere_do_not_differ():
    found = statistics.friedman(np.ones((6, 4)))
    assert (found.statistic, found.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(("shape", "what"), [((4, 5), "4 datasets"), ((9, 2), "2 methods"), ((1, 4), "1 datasets")])
def test_too_few_datasets_or_methods_are_said_to_be_too_few(shape, what):
    assert statistics.friedman(np.random.default_rng(0).normal(size=shape)).too_few.startswith(what)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_wins_ties_and_losses_are_counted(seed, higher):
    scores = np.random.default_rng(seed).integers(0, 3, size=(7, 4)) / 2
    found = statistics.win_tie_loss(scores, higher_is_better=higher)
    for a in range(4):
        for b in range(4):
            better = sum((row[a] > row[b]) if higher else (row[a] < row[b]) for row in scores)
            equal = sum(row[a] == row[b] for row in scores)
            assert found[a, b].tolist() == [better, equal, 7 - better - equal]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.booleans())
def test_the_variance_of_an_auc_is_delongs_and_its_interval_has_one_more_item_in_each_class(seed, items, tied):
    chance = np.random.default_rng(seed)
    scores, positive = chance.normal(size=items), np.arange(items) < items // 2
    scores = (scores + positive).round(0 if tied else 9)
    found = statistics.auc_interval(scores, positive)
    assert found.value == pytest.approx(roc_auc_score(positive, scores), **EXACT)
    wins = [[1.0 if a > b else 0.5 if a == b else 0.0 for b in scores[~positive]] for a in scores[positive]]
    rows, columns = [np.mean(row) for row in wins], [np.mean(column) for column in zip(*wins, strict=True)]
    expected = np.var(rows, ddof=1) / len(rows) + np.var(columns, ddof=1) / len(columns)
    assert found.variance == pytest.approx(expected, **EXACT)
    if found.low is not None:
        area = found.value
        more = [
            (sum((share - area) ** 2 for share in side) + area * (1 - area) / 3) / len(side) for side in (rows, columns)
        ]
        parts = [variance / len(side) for variance, side in zip(more, (rows, columns), strict=True)]
        se = math.sqrt(sum(parts)) / (area * (1 - area))
        freedom = sum(parts) ** 2 / sum(v**2 / (len(side) - 1) for v, side in zip(parts, (rows, columns), strict=True))
        quantile = stats.t.ppf(0.975, freedom)
        logits = math.log(area / (1 - area)) + np.array([-1, 1]) * quantile * se
        assert (found.low, found.high) == pytest.approx(tuple(1 / (1 + np.exp(-logits))), **EXACT)


def several_findings(seed, items, findings=4):
    """Scores and truths (N, C) of findings that go together; scores are rounded, so that some are equal."""
    chance = np.random.default_rng(seed)
    illness = chance.normal(size=(items, 1))
    truths = illness + chance.normal(size=(items, findings)) > np.linspace(0, 1.2, findings)
    return (illness + truths + chance.normal(size=(items, findings))).round(1), truths


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(8, 60))
def test_the_mean_area_of_several_findings_varies_by_what_each_item_adds_to_it(seed, items):
    scores, truths = several_findings(seed, items)
    found = statistics.auc_interval(scores, truths)
    known = [(s, t) for s, t in zip(scores.T, truths.T, strict=True) if 0 < t.sum() < items]
    each = [statistics.auc_interval(s, t) for s, t in known]
    assert found.value == pytest.approx(np.mean([roc_auc_score(t, s) for s, t in known]), **EXACT)
    if math.isnan(found.variance):
        assert any(t.sum() < 2 or (~t).sum() < 2 for _, t in known)
        return
    added = np.zeros(items)
    corrected = 0.0
    for (s, t), one in zip(known, each, strict=True):
        own = np.array([
            np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for b in s[~t]]) if there else
            np.mean([1.0 if b > a else 0.5 if a == b else 0.0 for b in s[t]])
            for a, there in zip(s, t, strict=True)
        ])  # fmt: skip
        own = (own - one.value) / np.where(t, t.sum(), (~t).sum())
        added += own
        corrected += one.variance - (own**2).sum()  # each finding's own variance is DeLong's
    assert found.variance == pytest.approx(((added**2).sum() + corrected) / len(known) ** 2, **EXACT)


def test_a_finding_told_several_times_says_no_more_than_told_once():
    scores, truths = (part[:, 1] for part in several_findings(5, 80))
    once = statistics.auc_interval(scores, truths)
    three, never = (statistics.auc_interval(np.stack(s, 1), np.stack(t, 1)) for s, t in (
        ([scores] * 3, [truths] * 3), ([scores, scores], [truths, np.zeros(80, bool)])
    ))  # fmt: skip
    assert 0 < once.low < once.value < once.high < 1
    assert (never.value, never.variance, never.low, never.high) == (once.value, once.variance, once.low, once.high)
    for name in ("value", "low", "high"):
        assert getattr(three, name) == pytest.approx(getattr(once, name), **EXACT)


def test_a_perfect_ranking_has_an_area_and_no_interval():
    found = statistics.auc_interval(np.arange(6), np.arange(6) > 2)
    assert (found.value, found.variance, found.low, found.high) == (1.0, 0.0, None, None)
    assert statistics.auc_interval(np.arange(6), np.ones(6)) is None
    assert statistics.auc_interval(np.zeros(0), np.zeros(0)) is None


@given(st.integers(0, 2**32 - 1))
def test_mcnemars_test_is_that_of_statsmodels(seed):
    first, second = np.random.default_rng(seed).random((2, 50)) < np.array([[0.8], [0.6]])
    table = [[(first & second).sum(), (first & ~second).sum()], [(second & ~first).sum(), (~first & ~second).sum()]]
    found = statistics.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
    assert found.p_value == pytest.approx(tables.mcnemar(table, exact=True).pvalue, **EXACT)


def test_runs_with_the_same_answers_do_not_differ():
    assert statistics.mcnemar(np.array([1, 0]), np.array([1, 0])).p_value == 1.0
    with pytest.raises(ValueError, match="different items"):
        statistics.mcnemar(np.ones(3), np.ones(4))


@given(st.integers(0, 30), st.integers(1, 30))
def test_the_interval_of_a_share_is_that_of_statsmodels(count, more):
    expected = proportion.proportion_confint(count, count + more, method="wilson")
    assert statistics.share_interval(count, count + more) == pytest.approx(expected, **EXACT)


def test_the_bootstrap_over_seeds_is_scipys_and_stays_within_the_range():
    sample = (1 - np.random.default_rng(0).exponential(0.01, 80)).clip(0, 1).tolist()
    found = statistics.bca_interval(sample)
    expected = stats.bootstrap((np.array(sample),), np.mean, method="BCa", rng=np.random.default_rng(0))
    assert found == pytest.approx(tuple(expected.confidence_interval), **EXACT)
    assert found[1] <= 1


def test_few_seeds_and_seeds_that_do_not_vary_have_no_bootstrap_interval():
    assert statistics.bca_interval([0.1, 0.2, 0.3, 0.4]) is None
    assert statistics.bca_interval([0.5] * 80) is None


def test_the_bootstrap_over_items_agrees_with_the_binomial_interval():
    chance = np.random.default_rng(1)
    right = chance.random(400) < 0.8
    low, high = statistics.items_interval(lambda answers: float(answers.mean()), right)
    expected = statistics.share_interval(int(right.sum()), 400)
    assert (low, high) == pytest.approx(expected, abs=0.01)
    probabilities = chance.random(300)
    area = statistics.items_interval(
        lambda scores, labels: roc_auc_score(labels, scores), probabilities, chance.random(300) < probabilities,
        resamples=99,
    )  # fmt: skip
    assert area[0] < area[1] < 1
