"""The leaderboard's own numbers, and what lies behind them, on cases shared by all, to 1e-10 of other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from kdbench.engine.metrics import score
from kdbench.records import Provenance, Record
from kdbench.report.leaderboard import leaderboards
from kdbench.report.page.curves import BINS, reliability
from kdbench.report.statistics import mean_interval, paired_interval, t_quantile
from kdbench.statistics.across import critical_difference, rank_quantile

weightstats = pytest.importorskip("statsmodels.stats.weightstats")
multitest = pytest.importorskip("statsmodels.stats.multitest")

EXACT = {"rel": 1e-10, "abs": 1e-10}
CASES = {
    "two seeds": ([0.91, 0.93], [0.90, 0.95]),
    "near one": ([0.9990, 0.9995, 0.9985, 0.9990], [0.9980, 0.9995, 0.9990, 0.9975]),
    "near nought": ([1e-6, 3e-6, 2e-6], [2e-6, 1e-6, 5e-6]),
    "large values": ([134.2, 120.9, 141.7, 128.8, 130.3], [150.1, 139.4, 148.8, 151.2, 140.0]),
    "many seeds": (np.random.default_rng(0).normal(0.8, 0.02, 30).tolist(),
                   np.random.default_rng(1).normal(0.81, 0.03, 30).tolist()),
}  # fmt: skip
cases = pytest.mark.parametrize(("first", "second"), CASES.values(), ids=CASES)


@cases
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_t_intervals_are_those_of_statsmodels_and_scipy(first, second, confidence):
    for sample in (first, second):
        found = mean_interval(sample, confidence)
        assert (found.low, found.high) == pytest.approx(
            weightstats.DescrStatsW(sample).tconfint_mean(1 - confidence), **EXACT
        )
        low, high = stats.t.interval(confidence, len(sample) - 1, loc=np.mean(sample), scale=stats.sem(sample))
        assert (found.low, found.high) == pytest.approx((low, high), **EXACT)


@cases
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_paired_intervals_are_those_of_statsmodels_and_scipy(first, second, confidence):
    found = paired_interval(zip(first, second, strict=True), confidence)
    differences = weightstats.DescrStatsW(np.subtract(first, second))
    assert (found.low, found.high) == pytest.approx(differences.tconfint_mean(1 - confidence), **EXACT)
    expected = stats.ttest_rel(first, second).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), **EXACT)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_the_quantile_of_t_is_scipys(confidence):
    for degrees in (1, 2, 3, 4, 9, 29, 199):
        assert t_quantile(degrees, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), **EXACT)


def test_a_leaderboards_tests_corrections_and_effects_are_those_of_the_libraries():
    chance = np.random.default_rng(3)
    values = {f"m{number}": chance.normal(0.8 + 0.004 * number, 0.01, 6).tolist() for number in range(7)}
    values["scratch"] = chance.normal(0.8, 0.01, 6).tolist()
    (board,) = leaderboards([_run(method, seed, v) for method, each in values.items() for seed, v in enumerate(each)])
    rows = {row.method: row for row in board.rows if row.method != "scratch"}
    tests = {method: stats.ttest_rel(values[method], values["scratch"]) for method in rows}
    corrected = multitest.multipletests([test.pvalue for test in tests.values()], method="holm")[1]
    for (method, test), holm in zip(tests.items(), corrected, strict=True):
        row, differences = rows[method], np.subtract(values[method], values["scratch"])
        low, high = weightstats.DescrStatsW(differences).tconfint_mean()
        assert (row.difference, row.difference_half_width) == pytest.approx(
            ((low + high) / 2, (high - low) / 2), **EXACT
        )
        assert (row.p_value, row.p_holm) == pytest.approx((test.pvalue, holm), **EXACT)
        assert row.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1), **EXACT)
        assert (row.better, row.worse) == (low > 0, high < 0)


def _run(method: str, seed: int, value: float) -> Record:
    return Record(
        run_id=f"{method}-{seed}", combo=f"digits/big->small/{method}", dataset="digits", teacher="big",
        student="small", method=method, recipe="standard", seed=seed, status="ok", metrics={"accuracy": value},
        provenance=Provenance(dataset_fingerprint="d"), started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:00:01+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(("methods", "datasets"), [(2, 5), (3, 6), (5, 30), (10, 14), (40, 8)])
def test_the_critical_difference_is_that_of_the_range_of_normal_variables(methods, datasets):
    """The chance that k standard normal variables lie within q√2 is k ∫ φ(z) (Φ(z) − Φ(z − q√2))^(k−1) dz."""
    reach = rank_quantile(methods) * math.sqrt(2)

    def density(z: float) -> float:
        return methods * stats.norm.pdf(z) * (stats.norm.cdf(z) - stats.norm.cdf(z - reach)) ** (methods - 1)

    within, _ = integrate.quad(density, -9, 9 + reach, epsabs=1e-13, epsrel=1e-13, limit=400)
    assert within == pytest.approx(0.95, abs=1e-10)
    assert critical_difference(methods, datasets) == pytest.approx(
        reach / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * datasets)), **EXACT
    )


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_the_calibration_error_is_the_sum_over_bins_and_the_reliability_diagrams(classes):
    chance = np.random.default_rng(classes)
    logits = 3 * chance.normal(size=(500, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = chance.integers(0, classes, 500)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low, high in zip(np.arange(BINS) / BINS, np.arange(1, BINS + 1) / BINS, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert score(probabilities, labels)["ece"] == pytest.approx(expected, **EXACT)
    bins = reliability(probabilities, labels)
    drawn = sum(n * abs(a - c) for n, a, c in zip(bins["items"], bins["accuracy"], bins["confidence"], strict=True))
    assert drawn / 500 == pytest.approx(expected, abs=1e-4), "its points are kept to four digits"
