from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdbench.report.statistics import mean_interval, paired_interval, t_quantile

values = st.lists(st.integers(0, 10_000).map(lambda n: n / 10_000), min_size=2, max_size=12)
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.99])


@given(values, confidences)
def test_the_mean_interval_is_scipys(sample, confidence):
    interval = mean_interval(sample, confidence)
    assert interval.n == len(sample)
    assert interval.mean == pytest.approx(np.mean(sample), abs=1e-12)
    assert interval.std == pytest.approx(np.std(sample, ddof=1), abs=1e-12)
    if len(set(sample)) > 1:
        low, high = stats.t.interval(confidence, len(sample) - 1, loc=np.mean(sample), scale=stats.sem(sample))
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-10, abs=1e-12)
    else:
        assert interval.std == interval.half_width == 0


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=12), confidences)
def test_the_paired_interval_is_that_of_scipys_paired_t_test(counts, confidence):
    first, second = (np.array(column) / 1000 for column in zip(*counts, strict=True))
    interval = paired_interval(zip(first.tolist(), second.tolist(), strict=True), confidence)
    if len({a - b for a, b in counts}) > 1:
        expected = stats.ttest_rel(first, second).confidence_interval(confidence)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-10, abs=1e-12)
    else:
        assert interval.std == interval.half_width == 0


@given(values)
def test_the_interval_does_not_depend_on_the_order(sample):
    assert mean_interval(sample[::-1]).mean == mean_interval(sample).mean


@given(st.floats(0, 1), st.integers(2, 20))
def test_equal_values_have_no_spread_whatever_the_rounding(value, n):
    assert mean_interval([value] * n).half_width == 0


def test_differences_that_are_equal_but_for_rounding_have_no_spread():
    interval = paired_interval([(0.3, 0.2), (0.9, 0.8), (0.4, 0.3)])
    assert interval.half_width == 0
    assert interval.mean == pytest.approx(0.1)


def test_the_same_values_differ_by_exactly_nothing():
    assert paired_interval([(0.1 + 0.2, 0.3)] * 3).mean == 0


def test_one_value_has_a_mean_and_no_interval():
    interval = mean_interval([0.5])
    assert (interval.n, interval.mean, interval.std, interval.half_width) == (1, 0.5, None, None)
    assert interval.low is interval.high is None


def test_no_values_have_no_mean():
    assert mean_interval([]) is None
    assert paired_interval([]) is None


@given(st.integers(1, 200), confidences)
def test_the_quantile_is_scipys(degrees, confidence):
    assert t_quantile(degrees, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-10)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    chance = np.random.default_rng(0)
    covered = sum(
        abs(i.mean - 1) <= i.half_width for i in (mean_interval(chance.normal(1, 1, 5).tolist()) for _ in range(2000))
    )
    assert math.isclose(covered / 2000, 0.95, abs_tol=0.02)
