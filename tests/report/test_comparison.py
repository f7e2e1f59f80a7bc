"""What changed between two sets of results: only what the paired interval supports, and what fails now."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import a_run
from scipy import stats

from kdbench.errors import UnknownName
from kdbench.records import Provenance, Throughput
from kdbench.report.comparison import Change, compare
from kdbench.report.comparison_table import render_comparison
from kdbench.store import Store

OLD = [0.80, 0.82, 0.81, 0.83]


def change_of(a, b, **options) -> Change:
    (change,) = compare(a, b, **options).changes
    return change


def test_trials_of_a_search_are_not_compared():
    run, trial = a_run("kd", 0, 0.9), a_run("kd", 1000, None, trial=True, status="ok")
    assert [change.label for change in compare([run], [run, trial]).changes] == ["kd"]
    assert compare([trial], [trial]).changes == []


def test_a_difference_is_the_paired_t_interval_of_scipy(runs):
    new = [0.85, 0.86, 0.84, 0.88]
    change = change_of(runs("kd", OLD), runs("kd", new))
    expected = stats.ttest_rel(new, OLD).confidence_interval(0.95)
    assert change.difference - change.half_width == pytest.approx(expected.low, rel=1e-10)
    assert change.difference + change.half_width == pytest.approx(expected.high, rel=1e-10)
    assert (change.verdict, change.pairs) == ("better", 4)


@pytest.mark.parametrize(
    ("new", "verdict", "why"),
    [
        ([0.75, 0.78, 0.77, 0.77], "worse", ""),
        ([0.79, 0.84, 0.80, 0.84], "unchanged", "within noise"),
        (OLD, "unchanged", "all equal"),
        ([0.9, 0.92, 0.91, 0.93], "unclear", "the same difference in every pair: no spread"),
        ([0.9], "unclear", "one pair: no interval"),
        ([0.80, 0.82, None, 0.83], "worse", "no longer ends well: seed 2"),
        ([None] * 4, "worse", "no longer ends well: seed 0, seed 1, seed 2, seed 3"),
    ],
)
def test_verdicts(runs, new, verdict, why):
    change = change_of(runs("kd", OLD), runs("kd", new))
    assert (change.verdict, change.why) == (verdict, why)


def test_what_ends_well_now_is_better(runs):
    change = change_of(runs("kd", [0.8, None]), runs("kd", [0.8, 0.8]))
    assert (change.verdict, change.why) == ("better", "ends well now: seed 1")


def test_runs_that_failed_in_both_and_other_seeds_alone_say_nothing(runs):
    assert change_of(runs("kd", [None]), runs("kd", [None])).verdict == "unclear"
    assert change_of([a_run(seed=0)], [a_run(seed=1)]).why == "no runs of the same seed ended well in both"


def test_rows_that_only_one_side_has(runs):
    found = compare(runs("kd", OLD) + runs("fitnet", OLD), runs("kd", OLD) + runs("crd", OLD))
    assert {change.label: change.verdict for change in found.changes} == {
        "kd": "unchanged", "fitnet": "gone", "crd": "new"
    }  # fmt: skip
    assert not found.regressed


def test_other_parameters_recipes_and_data_are_other_rows(runs):
    for changed in (
        {"params": {"temperature": 2.0}},
        {"recipe_settings": {"lr": 1.0}},
        {"provenance": Provenance(dataset_fingerprint="d2")},
    ):
        verdicts = [change.verdict for change in compare(runs("kd", OLD), runs("kd", OLD, **changed)).changes]
        assert sorted(verdicts) == ["gone", "new"], changed


def test_less_is_better_for_some_metrics(runs):
    a, b = ([a_run("kd", seed, 0.8, metrics={"log_loss": value + 0.01 * seed**2, "mine": value + 0.01 * seed**2})
             for seed in range(3)] for value in (0.5, 0.2))  # fmt: skip
    b = [a_run("kd", r.seed, 0.8, metrics={k: v - 0.001 * r.seed for k, v in r.metrics.items()}) for r in b]
    assert change_of(a, b, metric="log_loss").verdict == "better"
    assert change_of(a, b, metric="mine").verdict == "worse"
    assert change_of(a, b, metric="mine", lower_is_better={"mine"}).verdict == "better"
    with pytest.raises(UnknownName, match="no run has a metric 'log_los'"):
        compare(a, b, metric="log_los")


def test_speeds_are_ratios_of_medians_without_a_verdict(runs):
    slow = Throughput(train_samples_per_s=500.0, inference_samples_per_s={"64": 1000.0})
    change = change_of(runs("kd", OLD), runs("kd", OLD, throughput=slow))
    assert (change.inference_ratio, change.train_ratio, change.verdict) == (0.2, 0.5, "unchanged")


def test_conditions_that_differ_are_shown(runs):
    other = Provenance(kdbench="2", device="cuda", threads=1, dataset_fingerprint="d1", teacher_fingerprint="t1",
                       libraries={"torch": "2.9"})  # fmt: skip
    found = compare(runs("kd", OLD), runs("kd", OLD, provenance=other))
    assert found.provenance == {
        "kdbench": (["1"], ["2"]), "device": (["cpu"], ["cuda"]), "libraries": ([""], ["torch 2.9"])
    }  # fmt: skip
    assert "device: A cpu, B cuda" in render_comparison(found, width=200)


values = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=5)


@given(values, values)
def test_swapping_the_sides_turns_every_verdict_round(first, second):
    opposite = {"better": "worse", "worse": "better", "new": "gone", "gone": "new"}
    a, b = ([a_run("kd", seed, value) for seed, value in enumerate(side)] for side in (first, second))
    forth, back = (change_of(x, y).verdict for x, y in ((a, b), (b, a)))
    mixed = {forth, back} == {"worse"}  # each side has a seed that only the other one lost
    assert mixed or back == opposite.get(forth, forth)


def test_the_table_shows_every_row_and_fits(runs):
    found = compare(runs("kd", OLD), runs("kd", [0.85, 0.86, 0.84, 0.88]) + runs("a [b]", OLD))
    text = render_comparison(found, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "a [b]" in text
    assert "+4.25 [+2.73, +5.77]" in text
    assert "1 new, 1 better" in text


def test_the_command_compares_directories_and_may_fail_on_a_regression(tmp_path, runs):
    for name, numbers in (("a", OLD), ("b", [0.7, 0.71, 0.72, 0.7])):
        store = Store.open(tmp_path / name)
        for record in runs("kd", numbers):
            store.write(record)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "kdbench", "compare", *arguments]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    plain = command("a", "b")
    assert plain.returncode == 0, plain.stderr
    assert "worse" in plain.stdout
    assert command("a", "b", "--fail-on-regression").returncode == 1
    assert command("b", "a", "--fail-on-regression").returncode == 0
    (change,) = json.loads(command("a", "b", "--json").stdout)["changes"]
    assert change["verdict"] == "worse"
    absent = command("a", "nowhere")
    assert absent.returncode == 1
    assert "nowhere is not a kdbench results directory" in absent.stderr
