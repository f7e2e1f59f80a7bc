from __future__ import annotations

import json

import numpy as np
import pytest
from report_runs import a_run
from scipy import stats

from kdbench.report.across import across
from kdbench.report.formats import render
from kdbench.report.leaderboard import leaderboards

METHODS = ("scratch", "kd", "dkd", "fitnet")


def runs_of(datasets: int, methods=METHODS, **changes):
    chance = np.random.default_rng(0)
    return [
        a_run(method, seed, float(0.7 + 0.03 * place + chance.normal(0, 0.01)), dataset=f"d{number}", **changes)
        for number in range(datasets)
        for place, method in enumerate(methods)
        for seed in range(3)
    ]


def test_methods_are_ranked_and_tested_over_datasets():
    boards = leaderboards(runs_of(7))
    found = across(boards)
    means = np.array([[next(r.mean for r in board.rows if r.label == m) for m in METHODS] for board in boards])
    expected = stats.friedmanchisquare(*means.T)
    assert (found.friedman, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)
    ranks = stats.rankdata(-means, axis=1).mean(axis=0)
    assert {s.method: s.average_rank for s in found.standings} == pytest.approx(dict(zip(METHODS, ranks, strict=True)))
    assert [s.average_rank for s in found.standings] == sorted(ranks)
    q = stats.studentized_range.ppf(0.95, 4, np.inf) / np.sqrt(2)
    assert found.critical_difference == pytest.approx(q * np.sqrt(4 * 5 / (6 * 7)), rel=1e-10)
    assert found.too_few is None
    best = found.standings[0]
    assert (best.method, best.wins, best.ties, best.losses) == ("fitnet", 7, 0, 0)
    shares = [next(r.gap_recovered for r in board.rows if r.label == "fitnet") for board in boards]
    assert best.gap_recovered == pytest.approx(np.mean(shares))
    assert best.gap_half_width == pytest.approx(stats.sem(shares) * stats.t.ppf(0.975, 6), rel=1e-9)


def test_few_datasets_are_shown_and_not_concluded_from():
    found = across(leaderboards(runs_of(3)))
    assert found.too_few.startswith("3 datasets")
    assert found.critical_difference is None
    assert across(leaderboards(runs_of(1))) is None
    assert across([]) is None


def test_the_methods_that_the_most_boards_share_are_compared():
    records = runs_of(6) + [a_run("rare", seed, 0.9 + seed / 100, dataset="d0") for seed in range(3)]
    found = across(leaderboards(records))
    assert sorted(s.method for s in found.standings) == sorted(METHODS)
    assert len(found.boards) == 6


def test_a_method_run_with_several_recipes_counts_with_the_commonest():
    other = [a_run("kd", seed, 1.0, dataset=f"d{number}", recipe="long") for number in range(5) for seed in range(3)]
    records = runs_of(5) + other
    assert {s.method: s.average_rank for s in across(leaderboards(records)).standings}["kd"] == 3.0


def test_lower_is_better_where_it_is():
    records = [
        a_run(m, s, None, status="ok", error=None, dataset=f"d{d}", metrics={"log_loss": 0.1 * (p + 1) + s / 1000})
        for d in range(5) for p, m in enumerate(METHODS) for s in range(2)
    ]  # fmt: skip
    assert [s.method for s in across(leaderboards(records, metric="log_loss")).standings] == list(METHODS)


def test_pairs_that_share_a_dataset_are_noted():
    records = runs_of(5) + runs_of(5, student="smaller")
    assert "not independent" in " ".join(across(leaderboards(records)).notes)


def test_the_comparison_is_in_json_markdown_and_the_table():
    boards = leaderboards(runs_of(6))
    content = json.loads(render(boards, "json"))["across"]
    assert content["standings"][0]["method"] == "fitnet"
    for form in ("md", "table"):
        text = render(boards, form, width=120)
        assert "Across 6 datasets" in text
        assert "Friedman" in text
    few = render(leaderboards(runs_of(2)), "md")
    assert "too few to conclude" in few
