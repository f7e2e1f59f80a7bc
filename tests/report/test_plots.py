"""The plots hold the leaderboard's numbers, are written whole, and are the same bytes for the same numbers."""

from __future__ import annotations

import re
import warnings
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import page_runs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import a_run
from sklearn.metrics import average_precision_score, roc_auc_score

from kdbench.errors import StoreError, UsageError
from kdbench.records import Cost, Throughput
from kdbench.report.across import across
from kdbench.report.cells import columns
from kdbench.report.leaderboard import leaderboards
from kdbench.report.plots.answers import Answers, class_curves, reliability_diagram
from kdbench.report.plots.collection import Written, write_plots
from kdbench.report.plots.costs import COSTS, cost, on_the_front
from kdbench.report.plots.differences import differences
from kdbench.report.plots.learning import bands, learning
from kdbench.report.plots.left_out import LeftOut
from kdbench.report.plots.ranks import cliques, critical_differences, wins
from kdbench.report.plots.style import rendered, styled
from kdbench.report.tuned import TunedBoard, TunedRow
from kdbench.report.tuned_export import read_tuned, write_tuned
from kdbench.store import Store
from kdbench.tuning.study import Trial

KINDS = {
    "accuracy-differences", "accuracy-parameters", "accuracy-throughput", "accuracy-training", "accuracy-learning",
    "roc", "precision-recall", "reliability",
}  # fmt: skip


def with_costs(store: Store) -> Store:
    """The same runs, with costs that differ between methods."""
    for run in store.records():
        place = page_runs.METHODS.index(run.method) if run.method in page_runs.METHODS else 0
        run.cost = Cost(parameters=100 + 10 * place, seconds={"train": 2.0 + place})
        run.throughput = Throughput(inference_samples_per_s={"64": 5000.0 * (1 + place)})
        store.write(run, store.predictions(run.run_id), replace=True)
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("plots"))
    page_runs.fill(store)
    return with_costs(store)


@pytest.fixture(scope="module")
def boards(store):
    return leaderboards(store.summaries())


@pytest.fixture(scope="module")
def written(store, boards, tmp_path_factory) -> tuple[Path, Written]:
    folder = tmp_path_factory.mktemp("drawn") / "a" / "b"
    return folder, write_plots(boards, store.summaries(), store, folder)


def drawn(draw, *arguments):
    with styled([]):
        return draw(*arguments)


def text_of(figure) -> str:
    """All text of the SVG, which has it as text."""
    with styled([]):
        root = ElementTree.fromstring(rendered(figure)["svg"])
    return "\n".join(element.text or "" for element in root.iter() if element.tag.endswith(("}text", "}tspan")))


def test_every_kind_of_plot_is_written_as_a_picture_and_a_drawing(written):
    folder, found = written
    names = {name.rsplit("_", 1)[1] for name in found.names if name.startswith("data0")}
    assert names == KINDS
    assert {"across_accuracy_ranks", "across_accuracy_wins"} <= set(found.names)
    assert {path.name for path in folder.iterdir()} == {f"{n}.{end}" for n in found.names for end in ("png", "svg")}
    for name in found.names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(folder / f"{name}.svg").getroot().tag.endswith("}svg")


def test_what_is_left_out_is_said_once_with_the_reason(written):
    _, found = written
    (roc,) = [why for why in found.left_out if why.startswith("ROC curves")]
    assert roc == "ROC curves of data1: big → small and 4 more: no run kept predictions of classes"


def test_the_same_numbers_make_the_same_drawing_whatever_the_users_settings(written, store, boards, tmp_path):
    folder, found = written
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": "another"}):
        write_plots(boards, store.summaries(), store, tmp_path)
    for name in found.names:
        content = (tmp_path / f"{name}.svg").read_bytes()
        assert content == (folder / f"{name}.svg").read_bytes()
        assert b"<dc:date>" not in content


def test_the_forest_plot_has_the_differences_of_the_leaderboard(boards):
    figure = drawn(differences, boards[0])
    axes = figure.axes[0]
    rows = sorted((row for row in boards[0].rows if row.difference_half_width), key=lambda row: -row.difference)
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.label for row in rows]
    for place, (bar, row) in enumerate(zip(axes.containers, rows, strict=True)):
        (point,) = bar.lines[0].get_xydata()
        assert tuple(point) == pytest.approx((100 * row.difference, place), rel=1e-12)
        ((low, _), (high, _)) = bar.lines[2][0].get_segments()[0]
        half = 100 * row.difference_half_width
        assert (low, high) == pytest.approx((point[0] - half, point[0] + half), rel=1e-12)
    shown = text_of(figure)
    (column,) = [column for column in columns(boards[0]) if column.key == "difference"]
    assert all(cell in shown for cell in column.cells if "[" in cell)


def test_the_forest_plot_marks_what_is_better_by_shape_and_after_correction_by_filling(runs):
    records = runs("scratch", [0.80, 0.82, 0.81, 0.83])
    records += runs("kd", [0.90, 0.92, 0.91, 0.9301]) + runs("dkd", [0.7, 0.72, 0.6, 0.78])
    records += runs("fitnet", [0.79, 0.83, 0.80, 0.84])
    (board,) = leaderboards(records)
    figure = drawn(differences, board)
    marks = {
        label.get_text(): (bar.lines[0].get_marker(), bar.lines[0].get_markerfacecolor() == "white")
        for label, bar in zip(figure.axes[0].get_yticklabels(), figure.axes[0].containers, strict=True)
    }
    assert {row.label: row.better for row in board.rows if row.label != "scratch"} == {
        "kd": True, "dkd": False, "fitnet": False,
    }  # fmt: skip
    assert marks == {"kd": ("^", False), "fitnet": ("o", True), "dkd": ("v", True)}


@pytest.mark.parametrize("name", COSTS)
def test_costs_are_drawn_as_they_are_on_the_leaderboard(boards, name):
    axis = COSTS[name]
    figure = drawn(cost, boards[0], axis)
    points = sorted(bar.lines[0].get_xydata()[0].tolist() for bar in figure.axes[0].containers)
    expected = sorted([getattr(row, axis.field), 100 * row.mean] for row in boards[0].rows if row.mean is not None)
    assert np.array(points) == pytest.approx(np.array(expected), rel=1e-12)
    (front,) = [line for line in figure.axes[0].lines if line.get_label() == "Pareto front"]
    assert len(front.get_xydata()) >= 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12), st.booleans(), st.booleans())
def test_the_front_is_what_no_other_point_beats(points, less, higher):
    def as_good(a, b):
        cheap = a[0] <= b[0] if less else a[0] >= b[0]
        return cheap and (a[1] >= b[1] if higher else a[1] <= b[1])

    expected = [not any(as_good(other, point) and other != point for other in points) for point in points]
    assert on_the_front(points, less=less, higher=higher) == expected


def test_learning_curves_are_means_over_seeds_with_their_standard_deviation():
    histories = [[0.1, 0.5, 0.6], [0.3, 0.4, 0.9], [0.2, 0.6]]
    records = [
        a_run("kd", seed, 0.9, history=[{"epoch": float(e), "val_accuracy": v} for e, v in enumerate(values)])
        for seed, values in enumerate(histories)
    ]
    found = bands(records, "val_accuracy")
    for epoch in range(3):
        values = [history[epoch] for history in histories if epoch < len(history)]
        assert found[epoch] == pytest.approx((np.mean(values), np.std(values, ddof=1)), rel=1e-12)
    (board,) = leaderboards(records)
    figure = drawn(learning, board, {"kd": records})
    (line,) = figure.axes[0].lines
    assert line.get_ydata() == pytest.approx([100 * mean for mean, _ in found.values()], rel=1e-12)


def test_the_areas_are_those_of_the_run_and_the_head_says_that_it_is_one_run(store, boards):
    answers = page_runs.answers(3, 1.0)
    probabilities, labels = answers["probabilities"], answers["labels"]
    from kdbench.report.page.curves import one_vs_rest

    found = {"kd": Answers(3, one_vs_rest(probabilities, labels), None, None)}
    for kind, area in (("roc", roc_auc_score), ("pr", average_precision_score)):
        figure = drawn(class_curves, boards[0], found, kind)
        areas = [area(labels == number, probabilities[:, number]) for number in range(page_runs.CLASSES)]
        shown = text_of(figure)
        assert f"{min(areas):.4f} to {max(areas):.4f}" in shown
        assert "of one run each (seed 3), no mean over seeds" in shown
        curves = [line for line in figure.axes[0].lines if line.get_linestyle() != ":"]
        assert len(curves) == page_runs.CLASSES


def test_the_reliability_diagram_has_the_bins_and_the_records_calibration_error(boards):
    bins = {"bin": [3, 14], "items": [10, 30], "confidence": [0.25, 0.97], "accuracy": [0.4, 0.9]}
    figure = drawn(reliability_diagram, boards[0], {"kd": Answers(0, [], bins, 0.01234)})
    panel = figure.axes[0]
    assert [bar.get_height() for bar in panel.patches] == [0.25, 0.75]
    (curve,) = [line for line in panel.lines if line.get_marker() == "o"]
    assert curve.get_xydata().tolist() == [[0.25, 0.4], [0.97, 0.9]]
    assert "ECE 0.0123" in text_of(figure)


def test_average_ranks_and_the_critical_difference_are_those_of_the_comparison(boards):
    compared = across(boards)
    figure = drawn(critical_differences, compared)
    shown = text_of(figure)
    (line,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert line.get_xdata().tolist() == [standing.average_rank for standing in compared.standings]
    assert f"critical difference {compared.critical_difference:.2f}" in shown
    assert all(f"{standing.average_rank:.2f}" in shown for standing in compared.standings)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 20))
def test_bars_join_the_longest_stretches_within_the_difference(values, distance):
    ranks = sorted(values)
    found = cliques(ranks, distance)
    assert all(first < last and ranks[last] - ranks[first] <= distance for first, last in found)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(found))
    for first in range(len(ranks)):
        for last in range(first + 1, len(ranks)):
            joined = any(a <= first and last <= b for a, b in found)
            assert joined == (ranks[last] - ranks[first] <= distance)


def test_the_matrix_counts_the_boards_that_each_method_wins(boards):
    compared = across(boards)
    figure = drawn(wins, boards, compared)
    names = [standing.method for standing in compared.standings]
    means = [{row.label: row.mean for row in board.rows} for board in boards]
    shown = {tuple(text.xy): text.get_text() for text in figure.axes[0].texts}
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if a != b:
                won, lost = (sum(m[x] > m[y] for m in means) for x, y in ((a, b), (b, a)))
                assert shown[j + 0.5, i + 0.5] == f"{won}–{len(means) - won - lost}–{lost}"


def test_one_seed_or_one_dataset_leaves_plots_out_and_says_why(tmp_path):
    records = [a_run("scratch", 0, 0.8), a_run("kd", 0, 0.9)]
    store = Store.open(tmp_path / "results")
    for record in records:
        store.write(record)
    found = write_plots(leaderboards(records), records, store, tmp_path / "plots")
    assert found.names == []
    said = "\n".join(found.left_out)
    assert "differences of digits: big → small: no row has an interval of its difference: that takes two seeds" in said
    assert "average ranks across datasets of the one leaderboard: it takes two leaderboards" in said
    assert "learning curves of digits: big → small: no run has a history of two epochs or more" in said
    assert len(found.left_out) == len(set(found.left_out))


def test_any_name_makes_safe_files_that_do_not_collide_and_no_warning(tmp_path):
    hostile = [
        page_runs.LONG, page_runs.LONG + "x", page_runs.HOSTILE, page_runs.RIGHT_TO_LEFT, page_runs.EMOJI, "../../etc",
        "数据集", "数据", "$x^{$", "con", "CON", "a/b", "a_b", "\x00\n", "", ".",
    ]  # fmt: skip
    store = Store.open(tmp_path / "results")
    for number, name in enumerate(hostile):
        for method in ("scratch", name or "kd"):
            for seed in range(2):
                value = 0.5 + 0.1 * (method != "scratch") + 0.01 * seed * (1 + (method != "scratch"))
                store.write(a_run(method, seed, value, dataset=name, run_id=f"r{number}-{len(method)}-{seed}"))
    summaries = store.summaries()
    boards = leaderboards(summaries)
    assert len(boards) == len(hostile)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = write_plots(boards, summaries, store, tmp_path / "plots")
    assert len(found.names) == len({name.casefold() for name in found.names}) == len(hostile)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,200}", name) for name in found.names)
    assert {path.parent for path in tmp_path.rglob("*.svg")} == {tmp_path / "plots"}
    text = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.svg"))
    assert "数据集" in text, "the drawing has the name whatever fonts there are"
    assert "$x^{$" in text, "names are not read as formulas"


def tuned_board(title: str = "data0") -> TunedBoard:
    trials = [
        Trial(number=n, status="ok", value=v, params={}, recipe={}, error=None, loss=None)
        for n, v in enumerate([0.5, 0.4, 0.7])
    ]
    row = TunedRow(
        label="kd", method="kd", recipe="standard", rank=1, budget=3, unfinished=0, best_trial=2, params={},
        recipe_overrides={}, default_validation=0.5, best_validation=0.7, default=0.5, default_half_width=None,
        tuned=0.7, tuned_half_width=None, gain=0.2, gain_half_width=None, gained=None, difference=None,
        difference_half_width=None, seeds=1, error=None, not_searched={}, curve=[0.5, 0.5, 0.7], trials=trials,
    )  # fmt: skip
    return TunedBoard(
        dataset=title, teacher="big", student="small", teacher_view=None, student_view=None, teacher_recipe="standard",
        metric="accuracy", higher_is_better=True, baseline="scratch", sampler="tpe", trial_seeds=[0], seeds=[0],
        recipe_searched=[], rows=[row],
    )  # fmt: skip


def test_a_search_is_drawn_from_what_tune_left(tmp_path):
    store = Store.open(tmp_path / "results")
    write_tuned([tuned_board()], store.directory / "tuning", store.directory / "tmp")
    found = write_plots([], [], store, tmp_path / "plots", tuned=read_tuned(store.directory))
    (name,) = found.names
    assert name.endswith("_accuracy-search")
    assert "best validation accuracy so far" in (tmp_path / "plots" / f"{name}.svg").read_text("utf-8")
    assert read_tuned(tmp_path) == []


def test_a_damaged_search_is_one_error_that_names_the_file(tmp_path):
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "tuning.json").write_text('{"tuned": 3}')
    with pytest.raises(StoreError, match=r"tuning\.json cannot be read"):
        read_tuned(tmp_path)


def test_a_folder_that_cannot_be_used_is_one_error(tmp_path, store, boards):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"plots cannot be written to .*file"):
        write_plots(boards, store.summaries(), store, tmp_path / "file")


def test_a_plot_without_anything_to_draw_says_so(boards):
    with pytest.raises(LeftOut, match="two leaderboards"):
        drawn(wins, boards[:1], None)
    with pytest.raises(LeftOut, match="no run kept predictions"):
        drawn(class_curves, boards[0], {}, "roc")
    with pytest.raises(LeftOut, match="no run kept predictions"):
        drawn(reliability_diagram, boards[0], {"kd": Answers(0, [], None, None)})
