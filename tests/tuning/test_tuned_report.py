"""The tuned leaderboard: both columns, their differences, the curves; as text and for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics

import pytest
from msgspec import structs
from scipy import stats
from searches import ended, executor, failed, studies

from kdbench.plan import NotRun
from kdbench.report.tuned import Tuned, tuned_boards
from kdbench.report.tuned_export import render_trials_csv, render_tuned_csv, render_tuned_json, write_tuned
from kdbench.report.tuned_text import render_tuned_markdown, render_tuned_table
from kdbench.store import Store
from kdbench.tuning.trials import search

SEEDS = (0, 1, 2)
DEFAULT, BEST, PLAIN = (0.80, 0.82, 0.78), (0.88, 0.91, 0.86), (0.81, 0.80, 0.82)


@pytest.fixture
def results(small_catalog, tmp_path):
    """A search of `warm` and one of `scratch`, and the records of their final runs."""
    store = Store.open(tmp_path / "trials")

    def record(run):
        temperature = run.params.get("temperature", 4.0)
        return failed(run, "diverged") if temperature > 12 else ended(run, 0.5 + temperature / 50)

    found = studies(small_catalog, "warm", "scratch", budget=10)
    search(found, store, executor(store, record)[1], warn=print)
    return finished(small_catalog, found)


def finished(catalog, found):
    made, summaries = [], {}
    for study in found:
        finals = [one._runs[0] for one in studies_at(catalog, study)]
        tuned = [study.final_run(run) for run in finals] if study.best else []
        own = PLAIN if study.base.combo.method == "scratch" else DEFAULT
        for runs, values in ((finals, own), (tuned, PLAIN if own is PLAIN else BEST)):
            for run, value in zip(runs, values, strict=False):
                summaries[run.run_id] = ended(run, 0.9, metrics={"accuracy": value})
        made.append(Tuned(study, (1000,), finals, tuned))
    return made, summaries


def studies_at(catalog, study):
    return [studies(catalog, study.base.combo.method, tune_seeds=(seed,))[0] for seed in SEEDS]


def half_width(values):
    return stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def test_default_and_tuned_stand_side_by_side_with_their_paired_difference(results):
    (board,) = tuned_boards(*results)
    rows = {row.label: row for row in board.rows}
    warm, scratch = rows["warm"], rows["scratch"]
    gains = [b - a for a, b in zip(DEFAULT, BEST, strict=True)]
    leads = [b - a for a, b in zip(PLAIN, BEST, strict=True)]
    assert (warm.default, warm.tuned) == pytest.approx((statistics.mean(DEFAULT), statistics.mean(BEST)))
    assert (warm.default_half_width, warm.tuned_half_width) == pytest.approx((half_width(DEFAULT), half_width(BEST)))
    assert (warm.gain, warm.gain_half_width) == pytest.approx((statistics.mean(gains), half_width(gains)))
    assert (warm.difference, warm.difference_half_width) == pytest.approx((statistics.mean(leads), half_width(leads)))
    assert warm.gained is True
    assert (warm.rank, scratch.rank) == (1, 2)
    assert (scratch.default, scratch.tuned) == pytest.approx((statistics.mean(PLAIN),) * 2)
    assert (scratch.gain, scratch.difference, scratch.budget) == (None, None, 1)
    assert (board.title, board.seeds, board.trial_seeds) == ("digits: big → small", [0, 1, 2], [1000])


def test_a_row_tells_its_trials_and_the_best_of_them(results):
    (board,) = tuned_boards(*results)
    row = next(row for row in board.rows if row.label == "warm")
    values = [trial.value for trial in row.trials]
    assert row.best_validation == max(value for value in values if value is not None)
    assert row.default_validation == values[0] == pytest.approx(0.58)
    assert row.unfinished == values.count(None) > 0
    assert row.params["temperature"] == row.trials[row.best_trial].params["temperature"]
    assert row.curve[-1] == row.best_validation
    assert row.not_searched == {"base": "kept as it is"}


def test_the_table_shows_both_columns_and_the_curves(results):
    text = render_tuned_table(tuned_boards(*results), [NotRun("mnist", "no data", "get it")], width=200)
    lines = text.splitlines()
    assert "10 trials for every method (tpe, seed 1000)" in lines[1]
    head = next(line for line in lines if line.startswith("method"))
    assert head.index("default %") < head.index("tuned %") < head.index("tuned − default")
    warm, curve = [line for line in lines if line.startswith("warm ")]
    for part in ("80.00 ± 4.97", "88.33 ± 6.25", "+8.33 [+6.90, +9.77]*", "temperature="):
        assert part in warm
    assert any(bar in curve for bar in "▁▂▃▄▅▆▇█")
    assert curve.split()[1] == "58.00"
    assert "scratch: nothing to search; the defaults are the only trial" in text
    assert "trials did not end well, the first of them trial" in text
    assert "not run: mnist: no data; get it with: get it" in text


def test_what_refused_every_trial_and_the_final_runs_is_told_once(results):
    (board,) = tuned_boards(*results)
    warm = next(row for row in board.rows if row.label == "warm")
    trials = tuple(structs.replace(trial, value=None, error="refused: no maps") for trial in warm.trials)
    refused = structs.replace(warm, trials=trials, unfinished=warm.budget, error="refused: no maps")
    text = render_tuned_table([structs.replace(board, rows=(refused,))], width=200)
    assert text.count("refused: no maps") == 1


def test_the_table_fits_a_narrow_terminal(results):
    text = render_tuned_table(tuned_boards(*results), width=60)
    table = text.split("nothing to search")[0].splitlines()
    assert max(map(len, table)) <= 60
    assert "default %" in text
    assert "tuned %" in text


def test_markdown_has_the_same_tables(results):
    text = render_tuned_markdown(tuned_boards(*results))
    assert text.startswith("### digits: big → small\n\n10 trials")
    assert "| **warm** | 9/10 | 80.00 ± 4.97 | **88.33 ± 6.25** | **+8.33 [+6.90, +9.77]** |" in text
    tables = [line for line in text.splitlines() if line.startswith("| ---")]
    assert len(tables) == 2


def test_json_holds_every_trial(results):
    written = json.loads(render_tuned_json(tuned_boards(*results), [NotRun("mnist", "no data", "get it")]))
    (board,) = written["tuned"]
    row = next(row for row in board["rows"] if row["label"] == "warm")
    assert [trial["number"] for trial in row["trials"]] == list(range(10))
    assert row["trials"][0]["params"] == {}
    assert len(row["curve"]) == 10
    assert written["not_run"][0]["name"] == "mnist"


def test_csv_has_a_line_per_row_and_the_trials_one_per_trial(results):
    boards = tuned_boards(*results)
    rows = list(csv.DictReader(io.StringIO(render_tuned_csv(boards))))
    assert [row["label"] for row in rows] == ["warm", "scratch"]
    assert float(rows[0]["gain"]) == pytest.approx(float(rows[0]["tuned"]) - float(rows[0]["default"]))
    assert json.loads(rows[0]["params"])["temperature"] > 4
    trials = list(csv.DictReader(io.StringIO(render_trials_csv(boards))))
    assert len(trials) == 11
    warm = [trial for trial in trials if trial["label"] == "warm"]
    best = 0.0
    for trial in warm:
        best = max(best, float(trial["value"] or 0))
        assert float(trial["best_so_far"]) == best
    assert {trial["status"] for trial in warm} == {"ok", "diverged"}


def test_files_are_written_with_a_picture_where_matplotlib_is(results, tmp_path):
    boards = tuned_boards(*results)
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    paths = write_tuned(boards, tmp_path / "tuning", scratch)
    names = [path.name for path in paths]
    assert names[:3] == ["tuning.json", "tuned.csv", "trials.csv"]
    assert json.loads(paths[0].read_text())["tuned"]
    assert not list(scratch.iterdir())
    pytest.importorskip("matplotlib")
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_a_search_without_a_good_trial_keeps_its_default_column_and_says_why(small_catalog, tmp_path):
    store = Store.open(tmp_path / "trials")
    found = studies(small_catalog, "warm", budget=3)
    search(found, store, executor(store, failed)[1], warn=print)
    (board,) = tuned_boards(*finished(small_catalog, found))
    (row,) = board.rows
    assert (row.tuned, row.gain, row.best_trial, row.rank) == (None, None, None, None)
    assert row.default == pytest.approx(statistics.mean(DEFAULT))
    assert row.error == "ValueError: no"
    assert "warm: ValueError: no" in render_tuned_table([board], width=120)


def test_a_final_run_that_failed_is_told_and_left_out_of_the_pairs(results):
    made, summaries = results
    warm = made[0].tuned[1]
    (board,) = tuned_boards(made, summaries | {warm.run_id: failed(warm)})
    row = next(row for row in board.rows if row.label == "warm")
    gains = [BEST[0] - DEFAULT[0], BEST[2] - DEFAULT[2]]
    assert (row.seeds, row.error) == (2, "ValueError: no")
    assert row.gain == pytest.approx(statistics.mean(gains))


def test_rows_of_one_method_are_told_apart_by_what_was_set_of_it(small_catalog):
    plain = studies(small_catalog, "warm", budget=1)
    pinned = studies(small_catalog, "warm", settings=("alpha=0.5", "steps=3"), pinned={"alpha": 0.5, "steps": 3})
    (board,) = tuned_boards([Tuned(study, (1000,), [], []) for study in (*plain, *pinned)], {})
    assert [row.label for row in board.rows] == ["warm", "warm(alpha=0.5, steps=3)"]
