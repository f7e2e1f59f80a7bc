"""The timings of kernels on the page, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chromium import axe, launched, serious, visit
from page_runs import EMOJI, HOSTILE, LONG, RIGHT_TO_LEFT, fill
from timing_files import write_timings

from kdbench.report.leaderboard import leaderboards
from kdbench.report.page.document import render_page
from kdbench.report.page.timing_view import read_timing_files
from kdbench.store import Store

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.browser]
GROUPS = ("128x10", "1024x1000")
CALLS = ("eager", "kd_kl", "kd_kl_and_grad")
NAMES = {f"bench/test_kernels.py::test_loss[{call}-{group}]": group for group in GROUPS for call in CALLS}


def times(factor: float) -> dict[str, tuple[float, float, float]]:
    """Of every benchmark: the first group in microseconds, the second in milliseconds, the last call changed."""
    found = {}
    for place, name in enumerate(NAMES):
        median = (2e-4, 4e-5, 1e-5, 6e-3, 5e-4, 3e-4)[place] * (factor if "and_grad" in name else 1.0)
        found[name] = (median * 0.97, median, median * 1.04)
    return found


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


def page_of(directory: Path, *files: Path) -> Path:
    store = Store.open(directory / "store")
    if not store.summaries():
        fill(store, datasets=1)
    summaries = store.summaries()
    path = directory / "page.html"
    path.write_text(render_page(summaries, leaderboards(summaries), store, timings=read_timing_files(files)), "utf-8")
    return path


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("one")
    return page_of(directory, write_timings(directory / "now.json", times(1.0), NAMES))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("two")
    now = times(1.5)
    del now[next(iter(now))]
    return page_of(
        directory, write_timings(directory / "before.json", times(1.0), NAMES),
        write_timings(directory / "after.json", now | {"other.py::test_more": (1.0, 2.0, 3.0)}, NAMES),
    )  # fmt: skip


def test_every_benchmark_has_its_median_quartiles_and_rounds(browser, one):
    with visit(browser, one) as v:
        v.page.get_by_role("link", name="Timings", exact=True).click()
        v.page.get_by_role("heading", level=1, name="Timings").wait_for()
        shown = v.rows("Timings")
        assert v.page.get_by_text("All names begin with bench/test_kernels.py::test_loss").is_visible()
        text = v.page.get_by_role("row", name=re.compile(r"eager-128x10")).inner_text()
    assert len(shown) == len(NAMES)
    for name, (q1, median, q3) in times(1.0).items():
        cells = shown[name.removeprefix("bench/test_kernels.py::test_loss")]
        assert float(cells["median"]) == pytest.approx(median)
        assert float(cells["spread"]) == pytest.approx(q3 - q1)
    assert [int(cells["rounds"]) for cells in shown.values()] == [9, 10, 11, 12, 13, 14]
    assert "200.0 µs" in text
    assert "194.0 – 208.0 µs" in text
    assert "128x10" in text


def test_it_sorts_by_any_column_and_the_address_keeps_it(browser, one):
    with visit(browser, one, "view=timings") as v:
        header = v.page.get_by_role("columnheader", name="median")
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "ascending"
        up = [float(cells["median"]) for cells in v.rows("Timings").values()]
        assert up == sorted(up)
        header.get_by_role("button").press("Enter")
        down = v.order("Timings")
        assert [float(cells["median"]) for cells in v.rows("Timings").values()] == sorted(up, reverse=True)
        state = v.page.url.partition("#")[2]
    with visit(browser, one, state) as v:
        assert v.order("Timings") == down


def test_benchmarks_are_searched_and_chosen_by_group(browser, one):
    with visit(browser, one, "view=timings") as v:
        v.page.get_by_label("Search benchmarks").fill("kd_kl 1024")
        assert v.order("Timings") == ["[kd_kl-1024x1000]", "[kd_kl_and_grad-1024x1000]"]
        v.page.get_by_label("Search benchmarks").fill("")
        v.page.get_by_label("Group").select_option("128x10")
        assert len(v.order("Timings")) == len(CALLS)
        assert v.page.get_by_role("img", name=re.compile("Median of the rounds")).count() == 1
        v.page.get_by_label("Search benchmarks").fill("no such thing")
        assert v.page.get_by_text("No benchmark is like that.").is_visible()


def test_each_group_is_drawn_with_a_dot_and_a_line_for_each_benchmark(browser, one):
    with visit(browser, one, "view=timings") as v:
        for group in GROUPS:
            chart = v.page.get_by_role("img", name=re.compile(f"^{group}\\. Median of the rounds"))
            chart.wait_for()
            assert chart.locator("[data-part=dot] > *").count() == len(CALLS)
            assert chart.locator("[data-part=rule] line").count() == len(CALLS)
            assert re.search("[µm]s", chart.text_content()), "the axis has units"


def test_two_files_stand_side_by_side_with_ratio_and_verdict(browser, two):
    with visit(browser, two, "view=timings&sort=-ratio") as v:
        shown, order = v.rows("Timings"), v.order("Timings")
        text = v.page.locator("main").inner_text()
        verdicts = v.page.locator("tbody td[data-column=verdict]").all_inner_texts()
        chart = v.page.get_by_role("img", name=re.compile("^1024x1000"))
        chart.wait_for()
        assert chart.locator("[data-part=dot] > *").count() == 2 * len(CALLS)
    slower = [name for name in order if "and_grad" in name]
    assert order[:2] == slower
    assert [float(shown[name]["ratio"]) for name in slower] == pytest.approx([1.5, 1.5])
    assert verdicts[:2] == ["slower", "slower"]
    assert sorted(verdicts) == ["gone", "new", *["slower"] * 2, *["unchanged"] * 3]
    assert shown["other.py::test_more"]["medianA"] == ""
    assert float(shown["other.py::test_more"]["medianB"]) == 2.0
    assert "7 benchmarks: 1 gone, 3 unchanged, 2 slower, 1 new." in text
    assert "more than 5% apart" in text
    assert "commit: A commit of before, B commit of after" in text


def test_a_page_without_timings_has_no_such_view(browser, tmp_path):
    with visit(browser, page_of(tmp_path), "view=timings") as v:
        assert v.page.get_by_role("heading", level=1, name="Leaderboard").is_visible()
        assert v.page.get_by_role("link", name="Timings", exact=True).count() == 0


def test_names_are_text_wherever_they_stand(browser, tmp_path):
    names = (HOSTILE, RIGHT_TO_LEFT, EMOJI, LONG)
    stats = dict.fromkeys(names, (1e-6, 2e-6, 3e-6))
    files = [
        write_timings(
            tmp_path / f"{letter}.json", stats, {name: name for name in names}, datetime=HOSTILE,
            machine_info={"node": f"{HOSTILE} {letter}", "cpu": {"brand_raw": LONG}},
        )
        for letter in "ab"
    ]  # fmt: skip
    with visit(browser, page_of(tmp_path, *files), "view=timings") as v:
        v.page.get_by_role("img", name=re.compile("Median of the rounds")).first.wait_for()
        assert v.page.evaluate("document.querySelectorAll('#page img:not(svg), #page script, iframe').length") == 0
        assert v.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert v.page.title() == "kdbench leaderboards"
        assert len(v.order("Timings")) == len(names)
        assert v.page.get_by_text(f"{HOSTILE} a").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_view(browser, two, scheme):
    with visit(browser, two, "view=timings", color_scheme=scheme) as v:
        v.page.get_by_role("img", name=re.compile("^1024x1000")).wait_for()
        v.page.evaluate(axe())
        assert serious(v.page) == []


def test_a_phone_shows_it_without_scrolling_the_page_sideways(browser, two):
    with visit(browser, two, "view=timings", viewport={"width": 375, "height": 740}) as v:
        v.page.get_by_role("img", name=re.compile("^1024x1000")).wait_for()
        assert v.page.evaluate("document.documentElement.scrollWidth") <= 375
