"""The page in a real browser: every test also fails on a console error or a network request (chromium.visit)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chromium import axe, launched, serious, visit
from page_runs import FAMILIES, METHODS, fill, record, write_page

from kdbench.report.across import across
from kdbench.report.baselines import Twins
from kdbench.report.leaderboard import leaderboards
from kdbench.store import Store

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.browser]


CHARTS = (
    "ROC curve", "Precision and recall", "Reliability", "Confusion matrix", "val_accuracy by epoch", "Loss by epoch",
)  # fmt: skip
VIEWS = ("", "dataset=data0", "view=differences", "view=cost", "view=learning", "view=datasets", "view=failures")


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("store"))
    fill(store)
    return store


@pytest.fixture(scope="module")
def path(store, tmp_path_factory) -> Path:
    return write_page(tmp_path_factory.mktemp("page"), store)


def test_the_page_shows_the_numbers_of_the_leaderboards(browser, path, store):
    columns = "mean+n+difference+holm+effect+kd+gap+rank+train_seconds+f1_macro"
    with visit(browser, path, f"dataset=data0&columns={columns}") as v:
        shown = v.rows()
    (board,) = [board for board in leaderboards(store.summaries()) if board.dataset == "data0"]
    assert set(shown) == {row.label for row in board.rows}
    for row in board.rows:
        cells = shown[row.label]
        expected = {
            "mean": row.mean, "n": row.n, "difference": row.difference, "holm": row.p_holm, "effect": row.effect_size,
            "kd": row.kd_difference, "gap": row.gap_recovered, "rank": row.rank, "train_seconds": row.train_seconds,
            "f1_macro": row.metrics.get("f1_macro"),
        }  # fmt: skip
        for name, value in expected.items():
            found = float(cells[name]) if cells[name] else None
            assert (found is None) == (value is None), (row.label, name)
            assert value is None or found == pytest.approx(value, rel=1e-10, abs=1e-10), (row.label, name)


def test_lower_is_better_where_it_is_and_the_metric_can_be_chosen(browser, path, store):
    with visit(browser, path, "dataset=data1") as v:
        v.page.get_by_label("Metric").select_option("log_loss")
        shown, order = v.rows(), v.order()
    (board,) = [board for board in leaderboards(store.summaries(), metric="log_loss") if board.dataset == "data1"]
    assert order == [row.label for row in board.rows]
    assert {name: float(row["rank"]) for name, row in shown.items()} == {row.label: row.rank for row in board.rows}


def test_seeds_can_be_chosen_and_everything_is_counted_anew(browser, path, store):
    with visit(browser, path, "dataset=data2") as v:
        v.page.get_by_text("Seeds: all 3").click()
        v.page.get_by_role("checkbox", name="1", exact=True).uncheck()
        shown = v.rows()
        assert "seeds=0%2C2" in v.page.url
    kept = [summary for summary in store.summaries() if summary.seed != 1 and summary.dataset == "data2"]
    (board,) = leaderboards(kept)
    for row in board.rows:
        assert float(shown[row.label]["mean"]) == pytest.approx(row.mean, rel=1e-10)
        assert shown[row.label]["n"] == "2"


def test_columns_sort_up_and_down_by_mouse_and_keyboard(browser, path):
    with visit(browser, path, "dataset=data0") as v:
        header = v.page.get_by_role("columnheader", name="F1 %")
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "descending"
        down = [float(row["f1_macro"]) for row in v.rows().values() if row["f1_macro"]]
        assert down == sorted(down, reverse=True)
        assert v.order()[-1] == "ofd"  # without a value: last
        header.get_by_role("button").press("Enter")
        assert header.get_attribute("aria-sort") == "ascending"
        up = [float(row["f1_macro"]) for row in v.rows().values() if row["f1_macro"]]
        assert up == sorted(up)
        assert v.order()[-1] == "ofd"
        assert "sort=f1_macro" in v.page.url


def test_rows_are_filtered_by_words_family_and_dataset(browser, path):
    with visit(browser, path) as v:
        v.page.get_by_label("Search").fill("data3 kd")
        assert sorted(v.order()) == ["dkd", "kd"]
        v.page.get_by_label("Search").fill("")
        v.page.get_by_label("Family", exact=True).select_option("feature")
        assert set(v.order()) == {"fitnet"}
        v.page.get_by_label("Dataset").select_option("data4")
        assert v.order() == ["fitnet"]
        v.page.get_by_label("Search").fill("nothing is called this")
        assert v.page.get_by_text("No row is like that.").is_visible()


def test_every_number_opens_its_runs_and_they_open_everything_of_a_run(browser, path):
    with visit(browser, path, "dataset=data0") as v:
        cells = v.page.locator("tbody tr").first.locator("td:not(.left)")
        assert all(cell.locator("a").count() == 1 for cell in cells.all() if cell.inner_text().strip() != "–")
        v.page.get_by_role("row", name=re.compile("^fitnet")).locator("td a").first.click()
        assert v.page.get_by_role("heading", name="fitnet").is_visible()
        assert v.page.get_by_role("region", name="Runs").locator("tbody tr").count() == 3
        v.page.get_by_role("link", name="seed 1").click()
        for title in CHARTS:
            v.page.get_by_role("img", name=re.compile(f"^{title}")).wait_for()
        for text in ("Hyper-parameters", "temperature", "Provenance", "Repeat this run", "McNemar"):
            assert v.page.get_by_text(text).first.is_visible()
        v.page.go_back()
        v.page.go_back()
        assert v.page.get_by_role("region", name="Leaderboard").is_visible()


def test_a_link_to_a_state_opens_that_state(browser, path):
    with visit(browser, path, "dataset=data0&q=fitnet") as v:
        v.page.get_by_role("link", name="fitnet").click()
        v.page.get_by_role("link", name="seed 2").click()
        link = v.page.url.partition("#")[2]
    with visit(browser, path, link) as v:
        assert v.page.get_by_role("heading", name="fitnet, seed 2").is_visible()
    with visit(browser, path, "row=gone&metric=gone") as v:
        assert v.page.get_by_text("There is no such row on this page.").is_visible()


def test_the_command_that_repeats_a_run_is_copied(browser, path, store):
    run = next(s for s in store.summaries() if s.dataset == "data0" and s.method == "kd" and s.seed == 1)
    with visit(browser, path, f"run={run.run_id}", permissions=["clipboard-read", "clipboard-write"]) as v:
        v.page.get_by_role("button", name="Copy").click()
        v.page.get_by_text("copied").wait_for()
        assert v.page.evaluate("navigator.clipboard.readText()") == run.provenance.command


def test_failures_are_listed_with_their_errors_as_text(browser, path):
    with visit(browser, path) as v:
        v.page.get_by_role("link", name="1 failed").click()
        assert v.order("Failures") == ["ofd, seed 0"]
        assert v.page.get_by_text("ValueError: layer 'last' <b>is not there</b>").is_visible()
        v.page.get_by_role("link", name="ofd, seed 0").click()
        assert v.page.get_by_text("ValueError: layer 'last' <b>is not there</b>").is_visible()


def test_methods_are_compared_across_datasets_as_in_the_other_formats(browser, path, store):
    expected = across(leaderboards(store.summaries()))
    with visit(browser, path, "view=datasets") as v:
        cells = v.page.get_by_role("region", name="Methods across datasets").locator("tbody tr").all()
        shown = [[each.inner_text() for each in row.locator("th, td").all()] for row in cells]
        text = v.page.locator("main .lead").inner_text()
        v.page.get_by_role("img", name=re.compile("^Average ranks")).wait_for()
    assert [line[0] for line in shown] == [s.method for s in expected.standings]
    assert [float(line[1]) for line in shown] == pytest.approx([s.average_rank for s in expected.standings], abs=0.005)
    assert shown[0][2] == "6–0–0"
    assert f"χ² = {expected.friedman:.2f}" in text
    assert f"from {expected.critical_difference:.2f} on" in text


@pytest.mark.parametrize(
    ("view", "image"),
    [
        ("differences", "Δ accuracy % from scratch"),
        ("cost", "accuracy % and training s"),
        ("learning", "val_accuracy by epoch"),
    ],
)
def test_the_comparing_charts_are_drawn(browser, path, view, image):
    with visit(browser, path, f"view={view}&dataset=data0") as v:
        chart = v.page.get_by_role("img", name=re.compile(f"^{re.escape(image)}"))
        chart.wait_for()
        assert chart.locator("circle, path").count() >= 3


def test_dark_follows_the_system_and_can_be_chosen(browser, path):
    background = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, path, color_scheme="dark") as v:
        dark = v.page.evaluate(background)
        v.page.get_by_label("Theme").select_option("light")
        v.page.locator("html[data-theme=light]").wait_for()
        light = v.page.evaluate(background)
    with visit(browser, path, "theme=dark") as v:
        v.page.locator("html[data-theme=dark]").wait_for()
        assert v.page.evaluate(background) == dark != light
    with visit(browser, path) as v:
        assert v.page.evaluate(background) == light


def test_it_prints_to_pdf_without_its_controls(browser, path):
    with visit(browser, path, "dataset=data0&theme=dark") as v:
        assert v.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
        v.page.emulate_media(media="print")
        assert not v.page.get_by_label("Search").is_visible()
        assert v.page.get_by_role("region", name="Leaderboard").is_visible()
        assert v.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("state", ["", "view=learning&dataset=data0", "view=datasets"])
def test_a_phone_shows_it_without_scrolling_the_page_sideways(browser, path, state):
    with visit(browser, path, state, viewport={"width": 375, "height": 740}) as v:
        assert v.page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_keyboard_alone_gets_from_the_address_to_a_run(browser, path):
    with visit(browser, path, "dataset=data0") as v:
        v.page.keyboard.press("Tab")
        assert v.page.evaluate("document.activeElement.textContent") == "Skip to the results"
        v.page.keyboard.press("Enter")
        assert v.page.evaluate("document.activeElement.tagName") == "H1"
        for _ in range(60):
            v.page.keyboard.press("Tab")
            if v.page.evaluate("document.activeElement.textContent") == "fitnet":
                break
        v.page.keyboard.press("Enter")
        v.page.get_by_role("heading", level=1, name="Runs of a row").wait_for()
        assert v.page.evaluate("document.activeElement.tagName") == "H1"  # focus follows


@pytest.mark.parametrize(("scheme", "views"), [("light", VIEWS), ("dark", VIEWS[1:3])])
def test_axe_finds_nothing_serious_in_any_view(browser, path, store, scheme, views):
    script = axe()
    run = next(s for s in store.summaries() if s.dataset == "data0" and s.method == "kd")
    with visit(browser, path, color_scheme=scheme) as v:
        v.page.evaluate(script)
        for state in (*views, f"run={run.run_id}"):
            v.page.evaluate("(state) => { location.hash = state }", state)
            v.page.wait_for_timeout(150)
            if state == "dataset=data0":
                v.page.get_by_text("Columns:").click()
            assert serious(v.page) == [], state


def test_families_are_those_given(browser, path):
    with visit(browser, path) as v:
        options = v.page.get_by_label("Family", exact=True).locator("option").all_text_contents()
    assert options == ["all", *sorted({FAMILIES[name] for name in METHODS})]


def test_boards_of_different_main_metrics_each_show_their_own(browser, tmp_path):
    records = [record(m, s, "plain", 0.8 + p / 50 + s / 100) for p, m in enumerate(METHODS) for s in range(2)]
    for place, method in enumerate(METHODS):
        for seed in range(2):
            metrics = {"eer": 0.1 + place / 50 + seed / 200, "mrr": 0.5}
            records.append(record(method, seed, "pairs", 0.0, metrics=metrics, val_metrics={}, teacher_metrics={}))
    boards = {board.dataset: board for board in leaderboards(records)}
    assert boards["pairs"].metric == "eer"
    with visit(browser, write_page(tmp_path, records=records)) as v:
        v.page.get_by_role("columnheader", name="main metric").wait_for()
        for dataset in ("pairs", "plain"):
            v.page.get_by_label("Dataset").select_option(dataset)
            assert v.order() == [row.label for row in boards[dataset].rows]
            shown = v.rows()
            for row in boards[dataset].rows:
                assert float(shown[row.label]["mean"]) == pytest.approx(row.mean, rel=1e-10)
                assert float(shown[row.label]["rank"]) == row.rank


def test_a_row_that_is_not_compared_with_scratch_says_with_what(browser, tmp_path):
    kinds = {"scratch": {}, "kd": {"labelled": 0.1}, "fitnet": {"labelled": 0.1, "weight": 0}}
    records = [
        record(m, s, "data0", 0.6 + p / 50 + s**2 / 100, params=kinds[m], overrides=kinds[m], run_id=f"{m}{s}")
        for p, m in enumerate(kinds) for s in range(3)
    ]  # fmt: skip
    for each in records:
        each.method = "kd" if each.method == "fitnet" else each.method
    twins = {"kd": Twins(given=("labelled",), undistilled={"weight": 0})}
    given, twin = "kd(labelled=0.1)", "kd(labelled=0.1, weight=0)"
    with visit(browser, write_page(tmp_path, records=records, twins=twins)) as v:
        shown = v.rows()
        named = dict(zip(v.order(), v.page.locator("td[data-column=from]").all_text_contents(), strict=True))
        assert named == {"scratch": "–", given: twin, twin: "scratch"}
        assert float(shown[given]["difference"]) == pytest.approx(-1 / 50, abs=1e-9)
        v.page.get_by_role("link", name=given, exact=True).click()
        v.page.get_by_text(f"Δ vs {twin}").wait_for()
