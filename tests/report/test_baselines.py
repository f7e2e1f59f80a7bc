"""Each row's difference is from the undistilled student that was given the same, and says from which."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from report_runs import a_run
from scipy import stats

from kdbench.catalog import Catalog
from kdbench.errors import PluginError
from kdbench.plugins import load_plugins
from kdbench.report.baselines import Twins, declared_twins
from kdbench.report.cells import columns
from kdbench.report.formats import render
from kdbench.report.leaderboard import Leaderboard, Row, leaderboards
from kdbench.report.page.overview import overview

TWINS = {"soft": Twins(given=("labelled",), undistilled={"weight": 0})}
ALL, FEW, BOTH = [0.80, 0.82, 0.81], [0.60, 0.63, 0.61], [0.70, 0.74, 0.72]


def soft(values, *, weight=1.0, labelled=0.0, **changes):
    params = {"weight": weight, "labelled": labelled}
    overrides = {name: value for name, value in params.items() if value != {"weight": 1.0, "labelled": 0.0}[name]}
    name = f"soft{weight}{labelled}"
    return [
        a_run("soft", seed, value, run_id=f"{name}-{seed}", params=params, overrides=overrides, **changes)
        for seed, value in enumerate(values)
    ]


@pytest.fixture
def records(runs):
    return [
        *runs("scratch", ALL), *runs("kd", [0.83, 0.84, 0.86]), *soft([0.79, 0.80, 0.78]),
        *soft(BOTH, labelled=0.1), *soft(FEW, weight=0.0, labelled=0.1),
    ]  # fmt: skip


def board_of(records, twins=TWINS) -> Leaderboard:
    (board,) = leaderboards(records, twins=twins)
    return board


def row_of(board: Leaderboard, label: str) -> Row:
    return next(row for row in board.rows if row.label == label)


def test_a_row_is_compared_with_the_undistilled_row_that_was_given_the_same(records):
    row = row_of(board_of(records), "soft(labelled=0.1)")
    expected = stats.ttest_rel(BOTH, FEW)
    assert row.difference_from == "soft(labelled=0.1, weight=0)"
    assert row.difference_same_given is True
    assert row.difference == pytest.approx(np.mean(BOTH) - np.mean(FEW), abs=1e-12)
    ends = (row.difference - row.difference_half_width, row.difference + row.difference_half_width)
    assert ends == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-10)
    assert row.p_value == pytest.approx(expected.pvalue, rel=1e-10)


def test_the_gap_is_that_between_the_teacher_and_the_rows_own_baseline(records):
    row = row_of(board_of(records), "soft(labelled=0.1)")
    assert row.gap_recovered == pytest.approx(row.difference / (0.98 - np.mean(FEW)))


def test_rows_that_were_given_everything_are_compared_with_scratch(records):
    rows = {row.label: row for row in board_of(records).rows}
    assert (rows["kd"].difference_from, rows["kd"].difference_same_given) == ("scratch", True)
    assert (rows["scratch"].difference_from, rows["scratch"].difference) == (None, None)


def test_a_row_without_a_twin_and_a_twin_itself_are_compared_with_scratch_and_the_board_says_so(records):
    board = board_of(records)
    for label in ("soft", "soft(labelled=0.1, weight=0)"):
        row = row_of(board, label)
        assert (row.difference_from, row.difference_same_given) == ("scratch", False)
    (otherwise,) = [note for note in board.notes if note.startswith("Δ from 'scratch', which was given something else")]
    assert otherwise.endswith("soft, soft(labelled=0.1, weight=0)")
    assert "the undistilled student that was given the same: soft(labelled=0.1)" in "\n".join(board.notes)


def test_a_twin_of_another_recipe_is_no_twin(records, runs):
    other = soft([0.5, 0.52, 0.51], weight=0.0, labelled=0.2, recipe="long")
    board = board_of([*records, *other, *soft([0.6, 0.62, 0.61], labelled=0.2)])
    assert row_of(board, "soft(labelled=0.2)@standard").difference_from == "scratch@standard"
    assert row_of(board, "soft(labelled=0.2, weight=0)@long").difference is None


def test_a_twin_serves_where_there_is_no_scratch_at_all(runs):
    board = board_of([*soft(BOTH, labelled=0.1), *soft(FEW, weight=0.0, labelled=0.1)])
    assert row_of(board, "soft(labelled=0.1)").difference == pytest.approx(np.mean(BOTH) - np.mean(FEW))
    assert not any("no run of 'scratch'" in note for note in board.notes)
    titles = {column.key: column.title for column in columns(board)}
    assert titles["difference"] == "Δ vs soft(labelled=0.1, weight=0) (95% CI)"
    alone = board_of([*soft(BOTH, labelled=0.1), *soft(FEW, weight=0.0, labelled=0.1), *runs("kd", ALL)])
    assert row_of(alone, "kd").difference is None
    assert "no run of 'scratch' with recipe standard: no differences from it there" in alone.notes


def test_without_what_methods_declare_every_row_is_compared_with_scratch(records):
    rows = board_of(records, twins={}).rows
    assert {row.difference_from for row in rows} == {None, "scratch"}
    assert {row.difference_same_given for row in rows} == {None, True}


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_the_baseline_of_each_row_is_in_a_column_where_there_are_several(records, form):
    text = render([board_of(records)], form, width=300).replace(r"$\Delta$", "Δ")
    assert "Δ from" in text
    (line,) = [line for line in text.splitlines() if re.match(r"\W*(textbf\W)?soft\(labelled=0\.1\)", line)]
    assert "soft(labelled=0.1, weight=0)" in line


def test_one_baseline_is_named_in_the_head_and_takes_no_column(runs):
    shown = {column.key: column.title for column in columns(board_of(runs("scratch", ALL) + runs("kd", BOTH)))}
    assert "difference_from" not in shown
    assert shown["difference"] == "Δ vs scratch (95% CI)"


def test_programs_are_told_the_baseline_of_each_row(records):
    boards = [board_of(records)]
    lines = {line["label"]: line for line in csv.DictReader(io.StringIO(render(boards, "csv")))}
    assert lines["soft(labelled=0.1)"]["difference_from"] == "soft(labelled=0.1, weight=0)"
    assert lines["soft"]["difference_same_given"] == "false"
    rows = {row["label"]: row for row in json.loads(render(boards, "json"))["leaderboards"][0]["rows"]}
    assert rows["soft(labelled=0.1)"]["difference_from"] == "soft(labelled=0.1, weight=0)"


def test_the_page_takes_the_same_baseline(records):
    found = overview(records, [board_of(records)], families={}, lower_is_better=())
    rows = found.content["rows"]
    place = next(at for at, row in enumerate(rows) if row["label"] == "soft(labelled=0.1)")
    assert rows[rows[place]["base"]]["label"] == "soft(labelled=0.1, weight=0)"
    assert found.baselines[place] == {f"soft1.00.1-{seed}": f"soft0.00.1-{seed}" for seed in range(3)}
    assert rows[[row["label"] for row in rows].index("scratch")]["base"] is None


def test_what_the_installed_methods_declare_are_parameters_of_theirs():
    catalog = load_plugins().catalog
    declared = declared_twins(catalog)
    assert "cross_soft" in declared
    for name, twins in declared.items():
        assert {*twins.given, *twins.undistilled} <= set(catalog.find("method", name).load().defaults())


@pytest.mark.parametrize("metadata", [{"given": "labelled"}, {"given": (1,)}, {"undistilled": ("weight",)}])
def test_a_declaration_that_cannot_be_used_names_the_method_and_the_plugin(metadata):
    with pytest.raises(PluginError, match="plugin 'mine' registered method 'soft' with given="):
        Catalog().add("method", "soft", "a:B", "mine", metadata)
