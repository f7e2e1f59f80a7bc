"""What papers report, beside what was measured: registered with a combo, kept in records, shown by every format."""

from __future__ import annotations

import csv
import io
import json
from statistics import mean

import msgspec
import pytest
from report_runs import a_run

import kdbench
from kdbench.catalog import Catalog
from kdbench.errors import PluginError
from kdbench.outcomes import failure_record
from kdbench.plan import Repeats, make_plan, varied
from kdbench.records import Record, Summary, decode, encode
from kdbench.report.formats import render
from kdbench.report.leaderboard import leaderboards
from kdbench.select import Selection

FIGURE = kdbench.Published(
    metric="accuracy", value=0.7492, source="Tian et al. (2020), table 1", protocol="mean of 5 runs", teacher=0.7561
)
NAME = "digits/big->small/softened"


@pytest.fixture
def with_figure(small_catalog: Catalog) -> Catalog:
    small_catalog.add(
        "combo",
        "figure",
        kdbench.Combo(dataset="digits", teacher="big", student="small", method="softened", recipe="standard"),
        "small",
        {"suites": ["paper"], "published": FIGURE, "on_request": True},
    )
    return small_catalog


def planned(catalog: Catalog, *settings: str, **repeats: object):
    (run,) = make_plan(catalog, Selection(names=("figure",)), settings, Repeats(seeds=(0,), **repeats)).runs
    return run


def records() -> list[Record]:
    """Four seeds of kd with a figure, scratch with another paper's, and a method without one."""
    other = msgspec.structs.replace(FIGURE, value=0.70, source="Zhao et al. (2022)", teacher=None)
    of_loss = msgspec.structs.replace(FIGURE, metric="log_loss", value=1.5)
    return [
        *(a_run("kd", seed, value, published=[of_loss, FIGURE]) for seed, value in enumerate((0.75, 0.76, 0.74, 0.77))),
        *(a_run("scratch", seed, value, published=[other]) for seed, value in enumerate((0.69, 0.70))),
        a_run("dkd", 0, 0.9),
        a_run("crd", 0, None, published=[FIGURE]),
    ]


def test_a_run_as_registered_carries_the_figure_into_its_record_and_back(with_figure):
    run = planned(with_figure)
    assert run.published == (FIGURE,)
    record = failure_record(run, "failed", "no", "2026-01-01T00:00:00.000+00:00")
    assert decode(encode(record), Summary, name="it", fix="").published == [FIGURE]


@pytest.mark.parametrize("setting", ["softened.temperature=2", "recipe.epochs=2", "teacher_recipe.lr=0.1"])
def test_a_run_set_up_differently_has_no_published_figure(with_figure, setting):
    assert planned(with_figure, setting).published == ()


def test_a_setting_that_changes_nothing_keeps_the_figure(with_figure):
    assert planned(with_figure, "softened.temperature=4").published == (FIGURE,)


def test_a_teacher_that_is_loaded_keeps_the_figure(with_figure):
    assert planned(with_figure, "teacher_checkpoint=theirs.pt").published == (FIGURE,)


def test_folds_and_trials_have_no_published_figure(with_figure):
    runs = make_plan(with_figure, Selection(names=("figure",)), (), Repeats(seeds=(0,), folds=2)).runs
    assert {run.published for run in runs} == {()}
    run, method = planned(with_figure), with_figure.find("method", "softened").load()
    assert varied(run, method, {"temperature": 2.0}, {}).published == ()
    assert varied(run, method, {}, {"epochs": 9}).published == ()


def test_the_figure_is_no_part_of_what_defines_a_run(with_figure):
    plain = make_plan(with_figure, Selection(names=(NAME,)), (), Repeats(seeds=(0,))).runs[0]
    assert plain.run_id == planned(with_figure).run_id


@pytest.mark.parametrize(
    ("published", "said"),
    [
        (msgspec.structs.replace(FIGURE, value=74.92), r"74.92 is not in \[0, 1\]"),
        (msgspec.structs.replace(FIGURE, teacher=75.61), r"75.61 is not in \[0, 1\]"),
        (msgspec.structs.replace(FIGURE, source=" "), "lacks its source"),
        (msgspec.structs.replace(FIGURE, protocol=""), "or its protocol"),
        ((FIGURE, FIGURE), "two published figures of one metric"),
        ("74.92", "is not a kdbench.Published"),
        (74.92, "not iterable"),
    ],
)
def test_a_figure_that_cannot_be_used_is_refused_with_its_combo(small_catalog, published, said):
    combo = kdbench.Combo(dataset="digits", teacher="big", student="small", method="softened", recipe="standard")
    with pytest.raises(PluginError, match=f"(?s)plugin 'mine' registered combo 'one'.*{said}"):
        small_catalog.add("combo", "one", combo, "mine", {"published": published})


def test_all_leaves_out_what_is_on_request_and_says_how_to_run_it(with_figure):
    plan = make_plan(with_figure, Selection(all=True), (), Repeats(seeds=(0,)))
    assert "figure" not in {run.name for run in plan.runs}
    (left,) = (one for one in plan.not_run if one.name == "paper")
    assert (left.reason, left.fix) == ("1 combos of this suite are run on request only", "kdbench run --suite paper")
    for selection in (Selection(suite="paper"), Selection(names=("figure",)), Selection(dataset=("digits",))):
        assert "figure" in {run.name for run in make_plan(with_figure, selection, (), Repeats(seeds=(0,))).runs}


def test_the_difference_is_the_mean_over_seeds_less_the_figure():
    (board,) = leaderboards(records())
    rows = {row.label: row for row in board.rows}
    assert rows["kd"].published_difference == pytest.approx(mean((0.75, 0.76, 0.74, 0.77)) - 0.7492, abs=1e-12)
    assert rows["scratch"].published_difference == pytest.approx(0.695 - 0.70, abs=1e-12)
    assert (rows["dkd"].published, rows["dkd"].published_difference) == (None, None)
    assert (rows["crd"].published, rows["crd"].published_difference) == (0.7492, None)


def test_another_metric_has_its_own_figure():
    runs = [msgspec.structs.replace(r, metrics={"log_loss": 1.25}) for r in records() if r.status == "ok"]
    (board,) = leaderboards(runs, metric="log_loss")
    assert next(row for row in board.rows if row.label == "kd").published_difference == pytest.approx(-0.25)


@pytest.mark.parametrize("form", ["table", "md"])
def test_tables_show_the_difference_with_the_figure_and_where_it_is_from(form):
    text = " ".join(render(leaderboards(records()), form, width=250).split())
    assert "Δ to paper" in text
    assert "+0.58 (74.92)" in text
    assert "-0.50 (70.00)" in text
    notes = (
        "Δ to paper of crd, kd: Tian et al. (2020), table 1; mean of 5 runs; their teacher has 75.61",
        "Δ to paper of scratch: Zhao et al. (2022); mean of 5 runs",
    )
    assert all(note in text for note in notes)
    without = render(leaderboards([a_run("kd", 0, 0.9)]), form, width=250)
    assert "paper" not in without


def test_csv_and_json_have_the_figure_its_source_and_its_protocol():
    boards = leaderboards(records())
    line = next(row for row in csv.DictReader(io.StringIO(render(boards, "csv"))) if row["label"] == "kd")
    assert (float(line["published"]), line["published_source"]) == (0.7492, "Tian et al. (2020), table 1")
    (board,) = json.loads(render(boards, "json"))["leaderboards"]
    row = next(row for row in board["rows"] if row["label"] == "kd")
    assert (row["published_protocol"], row["published_teacher"]) == ("mean of 5 runs", 0.7561)
    assert row["published_difference"] == float(line["published_difference"]) == pytest.approx(0.755 - 0.7492)
