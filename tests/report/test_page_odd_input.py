"""Names and numbers that nobody wants, on the page in a real browser."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from chromium import launched, visit
from page_runs import EMOJI, HOSTILE, LONG, RIGHT_TO_LEFT, keep, record, write_page

from kdbench.published import Published
from kdbench.report.page.document import render_page
from kdbench.store import Store

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.browser]
NAMES = (HOSTILE, RIGHT_TO_LEFT, EMOJI, LONG)


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Every name as a method, a dataset, a model, a recipe and an error; values that are missing or not finite."""
    store = Store.open(tmp_path_factory.mktemp("odd"))
    for dataset in (HOSTILE, RIGHT_TO_LEFT):
        for seed in range(2):
            keep(store, record("scratch", seed, dataset, 0.8 + seed / 100, teacher=EMOJI, student=LONG))
            for name in NAMES:
                value = float("nan") if name == EMOJI else 0.85 + seed / 50
                keep(store, record(name, seed, dataset, value, teacher=EMOJI, student=LONG, params={name[:50]: name}))
        keep(store, record("kd", 0, dataset, None, error=HOSTILE * 20, teacher=EMOJI, student=LONG))
        keep(store, record("dkd", 0, dataset, 0.9, teacher=EMOJI, student=LONG, metrics={"f1_macro": 0.9}))
        keep(store, record("fitnet", 0, dataset, 0.9, teacher=EMOJI, student=LONG))
    return write_page(tmp_path_factory.mktemp("page"), store)


def test_names_are_text_in_every_view_and_run_nothing(browser, path):
    with visit(browser, path) as v:
        elements = v.page.evaluate("document.querySelectorAll('img, iframe, object').length")
        assert elements == 0
        for view in ("", "differences", "cost", "learning", "datasets", "failures"):
            v.page.evaluate("(view) => { location.hash = `view=${view}` }", view)
            v.page.wait_for_timeout(80)
            assert v.page.evaluate("document.querySelectorAll('#page img:not(svg), #page script').length") == 0
            assert v.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        assert v.page.title() == "kdbench leaderboards"


def test_each_name_is_shown_and_leads_to_its_runs(browser, path):
    with visit(browser, path) as v:
        order = v.order()
        for name in NAMES:
            assert any(shown.rstrip("…") and name.startswith(shown.rstrip("…")) for shown in order)
        v.page.get_by_role("link", name=HOSTILE[:20]).first.click()
        heading = v.page.get_by_role("heading", level=2).first
        assert heading.inner_text() == HOSTILE
        v.page.get_by_role("link", name="seed 1").click()
        assert v.page.get_by_text("Hyper-parameters").is_visible()
        assert v.page.title() == "kdbench leaderboards"


def test_a_published_figure_is_shown_with_its_source_as_text(browser, tmp_path):
    figure = Published(metric="accuracy", value=0.7492, source=f"A paper, table 6 {HOSTILE}", protocol="one run")
    records = [record("kd", seed, "d", 0.75 + seed / 100, published=[figure]) for seed in (0, 1)]
    with visit(browser, write_page(tmp_path, records=records)) as v:
        v.page.get_by_role("link", name="kd").first.click()
        text = v.page.locator(".notes").inner_text()
    assert text == f"accuracy % 74.92; here +0.58: A paper, table 6 {HOSTILE}; one run"


def test_rows_without_a_number_are_last_and_have_no_rank(browser, path):
    with visit(browser, path, urlencode({"dataset": RIGHT_TO_LEFT})) as v:
        shown = list(v.rows().items())
    ranked = [row["rank"] for _, row in shown if row["rank"]]
    assert [float(rank) for rank in ranked] == sorted(map(float, ranked))
    last = shown[len(ranked) :]
    assert {name for name, _ in last} == {EMOJI, "dkd", "kd"}
    assert all(row["mean"] == row["rank"] == "" for _, row in last)


def test_one_seed_has_a_mean_and_no_interval(browser, path):
    with visit(browser, path, "q=fitnet&columns=mean+n+difference+rank") as v:
        row = v.rows()["fitnet"]
        text = v.page.get_by_role("row", name="fitnet").first.locator("td").nth(1).inner_text()
    assert (float(row["mean"]), row["n"]) == (pytest.approx(0.9), "1")
    assert text == "90.00"


@pytest.mark.parametrize("view", ["", "differences", "cost", "learning", "datasets", "failures"])
def test_no_runs_at_all_are_a_page_that_says_so(browser, tmp_path, view):
    file = tmp_path / "empty.html"
    file.write_text(render_page([], [], None), "utf-8")
    with visit(browser, file, f"view={view}") as v:
        assert "0 runs" in v.page.locator("header").inner_text()
