from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import a_run
from scipy import stats

from kdbench.errors import UnknownName
from kdbench.records import Cost, Provenance, Throughput
from kdbench.report.cells import columns
from kdbench.report.leaderboard import Leaderboard, Row, leaderboards


def board_of(records, **options) -> Leaderboard:
    (board,) = leaderboards(records, **options)
    return board


def row_of(board: Leaderboard, label: str) -> Row:
    return next(row for row in board.rows if row.label == label)


def notes_of(records, **options) -> str:
    return "\n".join(board_of(records, **options).notes)


SCRATCH, KD = [0.80, 0.82, 0.81, 0.83], [0.85, 0.86, 0.84, 0.88]


def test_trials_of_a_search_are_on_no_leaderboard():
    runs = [a_run("kd", 0, 0.9), a_run("kd", 1000, None, trial=True, status="ok", val_metrics={"accuracy": 1.0})]
    (board,) = leaderboards(runs)
    assert [(row.n, row.total) for row in board.rows] == [(1, 1)]
    assert leaderboards(runs[1:]) == []


def test_a_row_has_mean_interval_and_paired_difference_as_scipy_gives_them(runs):
    board = board_of(runs("scratch", SCRATCH) + runs("kd", KD))
    row = row_of(board, "kd")
    low, high = stats.t.interval(0.95, 3, loc=np.mean(KD), scale=stats.sem(KD))
    assert (row.mean, row.half_width) == pytest.approx((np.mean(KD), (high - low) / 2))
    assert row.std == pytest.approx(np.std(KD, ddof=1))
    expected = stats.ttest_rel(KD, SCRATCH).confidence_interval(0.95)
    assert row.difference - row.difference_half_width == pytest.approx(expected.low)
    assert row.difference + row.difference_half_width == pytest.approx(expected.high)
    assert (row.pairs, row.better, row.worse, row.rank) == (4, True, False, 1)


def test_the_gap_recovered_is_the_share_of_the_way_from_scratch_to_teacher(runs):
    board = board_of(runs("scratch", SCRATCH) + runs("kd", KD))
    share = (np.mean(KD) - np.mean(SCRATCH)) / (0.98 - np.mean(SCRATCH))
    assert row_of(board, "kd").gap_recovered == pytest.approx(share)
    assert row_of(board, "scratch").gap_recovered is None


@pytest.mark.parametrize("teacher", [0.7, 0.815, 0.83], ids=["behind", "level", "within noise"])
def test_a_gap_that_is_not_there_or_within_noise_is_not_divided_by(runs, teacher):
    records = [
        record
        for method, values in (("scratch", SCRATCH), ("kd", KD))
        for record in runs(method, values, teacher_metrics={"accuracy": teacher})
    ]
    assert row_of(board_of(records), "kd").gap_recovered is None


def test_a_gap_is_not_known_from_one_seed(runs):
    assert row_of(board_of(runs("scratch", [0.8]) + runs("kd", [0.9])), "kd").gap_recovered is None


def test_pairs_are_of_the_same_seed_whatever_the_order(runs):
    records = runs("scratch", [0.1, 0.5, 0.9]) + runs("kd", [0.2, 0.6, 1.0])[::-1]
    random.Random(0).shuffle(records)
    row = row_of(board_of(records), "kd")
    assert row.difference == pytest.approx(0.1)
    assert row.difference_half_width == pytest.approx(0, abs=1e-9)


def test_only_common_seeds_are_paired_and_the_difference_of_seeds_is_told(runs):
    records = runs("scratch", [0.80, 0.82]) + runs("kd", [None, 0.85, 0.99])
    row = row_of(board_of(records), "kd")
    assert (row.pairs, row.difference) == (1, pytest.approx(0.03))
    assert row.better is row.worse is None
    assert "do not hold the same seeds" in notes_of(records)


def test_the_baseline_is_the_one_with_the_same_recipe_and_recipe_settings(runs):
    records = [
        *runs("scratch", [0.5, 0.51], recipe_settings={"epochs": 60}),
        *runs("kd", [0.6, 0.62], recipe_settings={"epochs": 60}),
        *runs("scratch", [0.7, 0.71], recipe_settings={"epochs": 5}, recipe_overrides={"epochs": 5}),
        *runs("kd", [0.75, 0.77], recipe_settings={"epochs": 5}, recipe_overrides={"epochs": 5}),
        *runs("kd", [0.9, 0.91], recipe="long"),
    ]
    board = board_of(records)
    assert row_of(board, "kd@standard").difference == pytest.approx(0.105)
    assert row_of(board, "kd@standard(epochs=5)").difference == pytest.approx(0.055)
    assert row_of(board, "kd@long").difference is None
    assert board.recipe is None
    assert "no run of 'scratch' with recipe long" in "\n".join(board.notes)


def test_a_scratch_with_other_parameters_is_a_row_and_not_the_baseline(runs):
    records = runs("scratch", [0.5, 0.52]) + runs(
        "scratch", [0.6, 0.63], overrides={"smoothing": 0.1}, params={"smoothing": 0.1}
    )
    assert row_of(board_of(records), "scratch(smoothing=0.1)").difference == pytest.approx(0.105)


def test_another_baseline_can_be_chosen(runs):
    board = board_of(runs("kd", KD) + runs("dkd", [0.9, 0.91, 0.9, 0.92]), baseline="kd")
    assert row_of(board, "dkd").difference == pytest.approx(0.05)


def test_a_metric_where_less_is_better_is_ranked_and_judged_so(runs):
    records = [
        a_run(method, seed, metrics={"log_loss": value}, teacher_metrics={"log_loss": 0.1})
        for method, values in (("scratch", [0.5, 0.52, 0.51]), ("kd", [0.3, 0.31, 0.33]))
        for seed, value in enumerate(values)
    ]
    board = board_of(records, metric="log_loss")
    assert [row.label for row in board.rows] == ["kd", "scratch"]
    kd = board.rows[0]
    assert (kd.better, kd.worse) == (True, False)
    assert kd.difference < 0
    assert 0 < kd.gap_recovered < 1


@pytest.mark.parametrize("lower", [False, True])
def test_a_plugins_metric_is_better_higher_unless_said_otherwise(lower):
    records = [a_run(method, metrics={"mine": value}) for method, value in (("scratch", 0.5), ("kd", 0.6))]
    board = board_of(records, metric="mine", lower_is_better=["mine"] if lower else ())
    assert [row.label for row in board.rows] == (["scratch", "kd"] if lower else ["kd", "scratch"])


def test_a_worse_method_is_called_worse(runs):
    row = row_of(board_of(runs("scratch", KD) + runs("kd", SCRATCH)), "kd")
    assert (row.better, row.worse) == (False, True)


def test_an_interval_that_holds_nought_supports_neither(runs):
    row = row_of(board_of(runs("scratch", [0.8, 0.9, 0.85]) + runs("kd", [0.9, 0.8, 0.86])), "kd")
    assert (row.better, row.worse) == (False, False)


def test_one_seed_supports_nothing_and_is_told(runs):
    records = runs("scratch", [0.5]) + runs("kd", [0.9])
    row = row_of(board_of(records), "kd")
    assert (row.half_width, row.std, row.difference_half_width, row.better) == (None, None, None, None)
    assert "one seed per row" in notes_of(records)


def test_differences_that_never_vary_are_not_called_better(runs):
    records = runs("scratch", [0.8, 0.82]) + runs("kd", [0.9, 0.92])
    assert row_of(board_of(records), "kd").better is None
    assert "shows no spread, and is not called better: kd" in notes_of(records)


def test_a_method_that_answers_as_the_baseline_does_is_not_better(runs):
    row = row_of(board_of(runs("scratch", SCRATCH) + runs("kd", SCRATCH)), "kd")
    assert (row.difference, row.better, row.worse) == (0, False, False)


def test_rows_with_the_same_mean_share_a_rank(runs):
    board = board_of([*runs("a", [0.1, 0.3]), *runs("b", [0.2, 0.2]), *runs("c", [0.3, 0.5]), *runs("d", [0.0, 0.1])])
    assert [(row.label, row.rank) for row in board.rows] == [("c", 1), ("a", 2), ("b", 2), ("d", 4)]


def test_failed_runs_are_counted_by_status_with_the_first_error(runs):
    records = [
        *runs("kd", [0.9, None]),
        a_run("kd", 2, None, status="diverged", error="Diverged: nan"),
        a_run("kd", 3, None, status="timeout", error="took too long"),
        *runs("dkd", [None, None]),
    ]
    board = board_of(records)
    kd, dkd = row_of(board, "kd"), row_of(board, "dkd")
    assert (kd.n, kd.total, kd.failed, kd.diverged, kd.timeout) == (1, 4, 1, 1, 1)
    assert kd.error == "ValueError: no"
    assert (dkd.n, dkd.mean, dkd.rank, dkd.failed) == (0, None, None, 2)
    assert board.rows[-1] is dkd
    assert "over the runs that ended well" in "\n".join(board.notes)


def test_a_metric_that_is_not_finite_is_left_out_of_the_mean():
    records = [a_run("kd", seed, metrics={"accuracy": v, "ece": v}) for seed, v in enumerate([0.5, None, 0.7])]
    row = board_of(records).rows[0]
    assert (row.n, row.total, row.mean) == (2, 3, pytest.approx(0.6))
    assert row.metrics["ece"] == pytest.approx(0.6)


def test_a_metric_that_no_run_of_a_row_has_a_value_of_is_told():
    asked = {"kd": [0.5, 0.6], "int8": [None, None], "pruned": [0.5, None]}
    records = [
        a_run(method, seed, metrics={"accuracy": 0.5 + seed / 10, "slope": value})
        for method, values in asked.items()
        for seed, value in enumerate(values)
    ]
    records.append(a_run("scratch", 0, metrics={"accuracy": 0.5}))
    told = [note for note in board_of(records).notes if "slope" in note]
    assert told == ["slope cannot be computed for int8"]


def test_a_run_that_failed_before_reading_its_data_joins_the_board_of_its_pair(runs):
    board = board_of(runs("scratch", [0.5, None]) + runs("kd", [None]))
    assert board.dataset_fingerprint == "d1"
    assert row_of(board, "scratch").total == 2


def test_a_pair_that_only_failed_has_a_board(runs):
    board = board_of(runs("kd", [None]))
    assert (board.metric, board.rows[0].failed, board.teacher_mean) == ("accuracy", 1, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "wine"}, {"teacher": "other"}, {"student": "other"}, {"teacher_view": "fac"},
        {"student_view": "fac"}, {"teacher_recipe": "long"}, {"folds": 5, "fold": 0}, {"devices": 2},
        {"provenance": Provenance(dataset_fingerprint="d2")},
    ],
)  # fmt: skip
def test_runs_that_do_not_compare_are_on_boards_of_their_own(changes):
    assert len(leaderboards([a_run(), a_run(**changes)])) == 2


def test_data_that_changed_between_runs_is_told_on_each_board():
    boards = leaderboards([a_run(), a_run(provenance=Provenance(dataset_fingerprint="d2"))])
    assert all("the data changed between runs" in "\n".join(board.notes) for board in boards)


def test_boards_come_in_the_same_order_whatever_the_order_of_the_runs():
    records = [a_run(dataset=name, teacher=teacher) for name in "cab" for teacher in ("y", "x")]
    titles = [board.title for board in leaderboards(records)]
    assert titles == [board.title for board in leaderboards(records[::-1])] == sorted(titles)


def test_the_title_names_the_views():
    assert board_of([a_run(teacher_view="fac", student_view="mor")]).title == "digits: fac:big → mor:small"


def test_folds_are_runs_of_their_own_and_the_intervals_are_called_optimistic(run):
    records = [
        run(method, seed, value + 0.01 * fold, fold=fold, folds=3)
        for method, value in (("scratch", 0.8), ("kd", 0.9))
        for seed in range(2)
        for fold in range(3)
    ]
    board = board_of(records)
    assert row_of(board, "kd").n == row_of(board, "kd").pairs == 6
    assert "optimistic" in "\n".join(board.notes)
    assert "Nadeau & Bengio" in "\n".join(board.notes)


def test_a_seed_is_never_counted_twice(runs):
    records = [
        *runs("kd", [0.5, 0.6]),
        a_run("kd", 0, 0.9, run_id="again", finished="2026-02-01T00:00:00.000+00:00"),
        a_run("kd", 1, None, run_id="failed", finished="2026-02-01T00:00:00.000+00:00"),
    ]
    row = board_of(records).rows[0]
    assert (row.n, row.total, row.mean) == (2, 2, pytest.approx(0.75))
    assert "2 runs left out" in notes_of(records)


def test_labels_show_what_was_overridden():
    overrides = {"temperature": 2.0, "alpha": 0.5, "layers": ["a"], "mode": "x"}
    assert board_of([a_run(overrides=overrides)]).rows[0].label == 'kd(alpha=0.5, layers=["a"], mode=x, temperature=2)'


def test_labels_name_the_recipe_only_where_recipes_differ(runs):
    assert [row.label for row in board_of(runs("kd", [0.5])).rows] == ["kd"]
    both = board_of(runs("kd", [0.5]) + runs("kd", [0.6], recipe="long"))
    assert [row.label for row in both.rows] == ["kd@long", "kd@standard"]


def test_one_recipe_with_overrides_is_named_in_the_head_and_not_in_the_rows(runs):
    board = board_of(runs("kd", [0.5], recipe_overrides={"epochs": 3}))
    assert (board.recipe, board.rows[0].label) == ("standard(epochs=3)", "kd")


def test_rows_that_differ_in_what_was_not_overridden_are_told_apart(runs):
    records = runs("kd", [0.5], params={"temperature": 4.0, "alpha": 0.9}) + runs(
        "kd", [0.6], params={"temperature": 2.0, "alpha": 0.9}
    )
    assert [row.label for row in board_of(records).rows] == ["kd(temperature=2)", "kd(temperature=4)"]
    records = runs("kd", [0.5], recipe_settings={"epochs": 60}) + runs("kd", [0.6], recipe_settings={"epochs": 30})
    assert [row.label for row in board_of(records).rows] == ["kd@standard(epochs=30)", "kd@standard(epochs=60)"]


def test_costs_are_medians_and_other_metrics_means():
    records = [
        a_run(
            seed=seed,
            metrics={"accuracy": 0.5, "agreement": 0.9 + 0.01 * seed},
            cost=Cost(parameters=7, seconds={"train": speed}),
            throughput=Throughput(
                train_samples_per_s=speed, inference_samples_per_s={"64": 2 * speed}, latency_ms_p50=speed
            ),
        )
        for seed, speed in enumerate([1.0, 2.0, 90.0])
    ]
    row = board_of(records).rows[0]
    assert (row.train_samples_per_s, row.inference_samples_per_s, row.latency_ms_p50) == (2.0, 4.0, 2.0)
    assert (row.train_seconds, row.parameters) == (2.0, 7)
    assert row.metrics["agreement"] == pytest.approx(0.91)


def test_the_cost_of_training_is_shown_in_that_of_kd(runs):
    def cost(speed, memory):
        return {"throughput": Throughput(train_samples_per_s=speed), "cost": Cost(peak_memory_bytes=memory)}

    records = runs("kd", [0.5, 0.6], **cost(300.0, 100)) + runs("crd", [0.5, 0.6], **cost(200.0, 150))
    rows = {row.label: row for row in board_of(records).rows}
    assert (rows["kd"].step_time, rows["kd"].train_memory) == (1.0, 1.0)
    assert (rows["crd"].step_time, rows["crd"].train_memory) == (1.5, 1.5)
    (alone,) = board_of(runs("crd", [0.5], **cost(200.0, 150))).rows
    assert (alone.step_time, alone.train_memory) == (None, None)


def test_the_head_has_the_teacher_and_the_sizes(runs):
    board = board_of(runs("scratch", [0.5, 0.6]) + runs("pruned", [0.5], cost=Cost(parameters=10)))
    assert (board.teacher_mean, board.teacher_range) == (0.98, None)
    assert (board.teacher_parameters, board.student_parameters, board.seeds) == (1000, 100, [0, 1])


def test_several_teachers_are_shown_with_their_range():
    records = [
        a_run(seed=seed, teacher_metrics={"accuracy": value}, provenance=Provenance(teacher_fingerprint=str(value)))
        for seed, value in enumerate([0.9, 0.9, 0.96])
    ]
    board = board_of(records)
    assert (board.teacher_mean, board.teacher_range) == (pytest.approx(0.93), (0.9, 0.96))


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"device": "cuda:0"}, "different devices, do not compare them: cpu, cuda:0"),
        ({"threads": 8}, "different numbers of threads, do not compare them: 1, 8"),
        ({"cpu": "other"}, "different processors"),
        ({"kernel_backend": "torch"}, "different kernel back ends"),
        ({"kdbench": "2"}, "different versions of kdbench: 1, 2"),
    ],
)
def test_conditions_that_differ_between_runs_are_told(run, changes, note):
    conditions = {"kdbench": "1", "device": "cpu", "threads": 1, "dataset_fingerprint": "d1"}
    records = [run(), run(seed=1, provenance=Provenance(**conditions | changes))]
    assert note in notes_of(records)
    assert note not in notes_of(records[:1])


def test_few_seeds_are_told(runs):
    assert "fewer than 3 seeds" in notes_of(runs("kd", [0.5, 0.6]))
    assert "fewer than 3 seeds" not in notes_of(runs("kd", [0.5, 0.6, 0.7]))
    assert "some rows have one seed only" in notes_of(runs("kd", [0.5, 0.6, 0.7]) + runs("dkd", [0.5]))


def test_equal_seeds_under_equal_conditions_need_no_notes(runs):
    assert board_of(runs("scratch", SCRATCH) + runs("kd", KD)).notes == []


def test_a_metric_that_no_run_has_is_refused_with_a_suggestion(runs):
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        leaderboards(runs("kd", [0.5]), metric="acuracy")


def test_runs_without_accuracy_are_ranked_by_the_first_metric_they_have():
    assert board_of([a_run(metrics={"recall_at_1": 0.5})]).metric == "recall_at_1"


def test_no_runs_make_no_boards():
    assert leaderboards([]) == []


@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.none() | st.integers(0, 20), min_size=1, max_size=4)))
def test_ranks_agree_with_means_and_no_run_is_lost(table):
    records = [
        a_run(method, seed, None if hits is None else hits / 20)
        for method, values in table.items()
        for seed, hits in enumerate(values)
    ]
    rows = [row for board in leaderboards(records) for row in board.rows]
    assert sum(row.total for row in rows) == len(records)
    assert sum(row.n + row.failed for row in rows) == len(records)
    for row in rows:
        means = [other.mean for other in rows if other.mean is not None]
        expected = None if row.mean is None else 1 + sum(mean > row.mean + 1e-9 for mean in means)
        assert row.rank == expected


def test_a_leaderboard_needs_neither_torch_nor_pandas():
    code = (
        "import sys; from kdbench.report.leaderboard import leaderboards; from kdbench.report.formats import render;"
        "[render(leaderboards([]), f) for f in ('table', 'md', 'csv', 'json')];"
        "print({'torch', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_row_made_from_the_teacher_is_told_apart_with_its_size(runs):
    small = Cost(parameters=100, nonzero_parameters=100, bytes=400, teacher_parameters=1000)
    pruned = Cost(parameters=1000, nonzero_parameters=100, bytes=4000, teacher_parameters=1000)
    board = board_of(
        runs("scratch", SCRATCH, cost=small) + runs("pruned", [*KD[:3], None], cost=pruned, student_source="teacher")
    )
    row = row_of(board, "pruned")
    assert (row.student_source, row.parameters, row.nonzero_parameters, row.bytes) == ("teacher", 1000, 100, 4000)
    assert row_of(board, "scratch").student_source == "student"
    assert board.student_parameters == 100, "the headline is of the student"
    assert "rows of the teacher, made smaller, and not of the student: pruned;" in "\n".join(board.notes)
    assert "rows of the teacher" not in notes_of(runs("scratch", SCRATCH, cost=small))
    shown = {column.key: column.cells for column in columns(board)}
    made = dict(zip(shown["label"], shown["student_source"], strict=True))
    assert made == {"scratch": "student", "pruned": "teacher"}
    assert sorted(shown["nonzero_parameters"]) == ["100", "100"]
    assert sorted(shown["bytes"]) == ["4,000", "400"]


def test_the_students_size_is_not_that_of_rows_made_from_the_teacher(runs):
    teachers = runs("pruned", SCRATCH, cost=Cost(parameters=1000, teacher_parameters=1000), student_source="teacher")
    assert board_of(teachers).student_parameters is None
    assert board_of(teachers + runs("kd", KD)).student_parameters == 100


def test_sizes_that_are_all_the_same_take_no_column(runs):
    cost = Cost(parameters=1000, nonzero_parameters=997, bytes=4000)
    shown = {
        column.key for column in columns(board_of(runs("scratch", SCRATCH, cost=cost) + runs("kd", KD, cost=cost)))
    }
    assert not shown & {"student_source", "parameters", "nonzero_parameters", "bytes"}


def test_rows_have_a_test_corrected_for_their_number_and_their_difference_from_kd(runs):
    board = board_of(
        runs("scratch", [0.80, 0.81, 0.82, 0.83])
        + runs("kd", [0.85, 0.86, 0.84, 0.88])
        + runs("dkd", [0.82, 0.83, 0.83, 0.86])
    )
    rows = {row.label: row for row in board.rows}
    expected = {m: stats.ttest_rel(v, [0.80, 0.81, 0.82, 0.83]).pvalue for m, v in (
        ("kd", [0.85, 0.86, 0.84, 0.88]), ("dkd", [0.82, 0.83, 0.83, 0.86]))}  # fmt: skip
    assert rows["kd"].p_value == pytest.approx(expected["kd"], rel=1e-10)
    least, greatest = sorted(expected, key=expected.get)
    assert rows[least].p_holm == pytest.approx(2 * expected[least], rel=1e-10)
    assert rows[greatest].p_holm == pytest.approx(max(2 * expected[least], expected[greatest]), rel=1e-10)
    assert rows["dkd"].kd_difference == pytest.approx(-0.0225)
    assert (rows["scratch"].p_value, rows["scratch"].effect_size, rows["kd"].kd_difference) == (None, None, None)


def test_an_improvement_that_the_number_of_rows_explains_is_noted(runs):
    values = runs("scratch", [0.80, 0.81, 0.82])
    for number in range(12):
        values += runs(f"m{number}", [0.82, 0.825, 0.842 if number else 0.85])
    board = board_of(values)
    assert any(row.better for row in board.rows)
    assert any(note.startswith("corrected for the number of rows (Holm, 5%), ") for note in board.notes)
