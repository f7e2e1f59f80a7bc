"""`kdbench report --watch` as a user has it: the command serves, a browser looks, records land meanwhile."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from chromium import Visit, axe, launched, serious, visit
from commands import start_kdbench
from page_runs import answers, fill, record
from timing_files import write_timings

from kdbench.report.live import server
from kdbench.report.live.following import FollowedStore, FollowedTimings
from kdbench.report.live.server import PageServer
from kdbench.report.live.snapshots import Shown, Snapshots
from kdbench.store import Store

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.browser]
LIVE = re.compile("^Live, last updated")
NETWORK = re.compile(r"Failed to load resource: net::ERR_\w+$")
"""Chromium itself writes this where a server does not answer; no page can keep it from that."""


class Watch:
    """The command, started, and the address that it told."""

    def __init__(self, directory: Path, *arguments: object) -> None:
        self.process = start_kdbench(directory, "report", "results", "--watch", *arguments, stdin=subprocess.DEVNULL)
        self.said: list[str] = []
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", self.said[-1] if self.said else "")):
            line = self.process.stderr.readline()
            assert line, f"it ended: {self.said}"
            self.said.append(line)
        self.url = found.group()

    def end(self, sent: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send the signal; the exit code, and everything that it said."""
        self.process.send_signal(sent)
        _, rest = self.process.communicate(timeout=60)
        return self.process.returncode, "".join(self.said) + rest


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture
def watch(tmp_path) -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def start(*arguments: object) -> Watch:
        started.append(Watch(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate(timeout=60)


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.open(tmp_path / "results")
    fill(store, datasets=2)
    return store


def news(v: Visit) -> list[str]:
    """The page's questions for something newer than what it has."""
    return [url for url in v.requests if re.search(r"/runs\?after=.", url)]


def asks_for_news(v: Visit, times: int = 1) -> None:
    """Wait until the page has sent so many such questions."""
    until = time.monotonic() + 60
    while len(news(v)) < times:
        assert time.monotonic() < until, "the page does not ask"
        v.page.wait_for_timeout(20)


def row(page: Any, name: str) -> Any:
    return page.get_by_role("region", name="Leaderboard").get_by_role("row", name=re.compile(f"^{name}"))


def test_a_run_that_lands_is_shown_and_the_reader_keeps_filter_order_and_place(browser, watch, store):
    served = watch()
    with visit(browser, served.url, "dataset=data0&q=kd&sort=n&theme=dark") as v:
        v.page.get_by_text(LIVE).wait_for()
        before = v.order()
        v.page.get_by_text("Columns:").click()
        v.page.get_by_label("Search").focus()
        v.page.evaluate("window.mark = document.querySelector('#search')")
        url = v.page.url
        store.write(record("kdx", 0, "data0", 0.99), answers(0, 3.0))
        store.write(record("other", 0, "data0", 0.99))
        row(v.page, "kdx").wait_for()
        assert set(v.order()) == {*before, "kdx"}
        assert v.page.url == url
        assert v.page.get_by_label("Search").input_value() == "kd"
        assert v.page.get_by_label("Dataset").input_value() == "data0"
        assert v.page.get_by_role("columnheader", name="n", exact=True).get_attribute("aria-sort") == "ascending"
        assert v.order()[0] == "kdx", "one seed: the fewest"
        assert v.page.get_by_role("group", name="Columns").is_visible(), "what was open is open"
        assert v.page.evaluate("document.activeElement === window.mark"), "the page was not loaded again"
        assert v.page.locator("html").get_attribute("data-theme") == "dark"


def test_an_open_row_gets_its_new_run_with_its_curves(browser, watch, store):
    served = watch()
    with visit(browser, served.url, "dataset=data0") as v:
        row(v.page, "dkd").get_by_role("link").first.click()
        runs = v.page.get_by_role("region", name="Runs").locator("tbody tr")
        v.page.get_by_role("img", name=re.compile("^val_accuracy by epoch")).wait_for()
        assert runs.count() == 3
        store.write(record("dkd", 3, "data0", 0.91), answers(3, 1.5))
        runs.nth(3).wait_for()
        assert v.page.get_by_role("heading", name="dkd").is_visible()
        v.page.get_by_role("link", name="seed 3").click()
        v.page.get_by_role("img", name=re.compile("^ROC curve")).wait_for()


def test_nothing_is_sent_again_while_nothing_changed(browser, store, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    served = PageServer(Snapshots(FollowedStore(store.directory), FollowedTimings([]), Shown(), print), 0)
    Thread(target=served.serve_forever, daemon=True).start()
    with visit(browser, served.url) as v:
        sizes = []
        v.page.on("response", lambda response: sizes.append(len(response.body())) if response.status == 200 else None)
        asks_for_news(v, times=4)
        assert len(set(news(v))) == 1, "all are after the same version"
        assert sizes == []
        assert [url for url in v.requests if "/details" in url] == []
        served.shutdown()
        served.farewell()


def test_a_page_waits_for_a_store_that_is_not_there_yet(browser, watch, tmp_path):
    served = watch()
    assert "results holds no run yet" in served.process.stderr.readline()
    with visit(browser, served.url) as v:
        assert v.page.get_by_role("heading", level=1).inner_text() == "Waiting for the first run"
        assert v.page.get_by_text("results holds no run so far.").is_visible()
        Store.open(tmp_path / "results").write(record("kd", 0, "data0", 0.9))
        row(v.page, "kd").wait_for()
        assert v.page.get_by_role("heading", level=1).inner_text() == "Leaderboard"
    assert served.end(signal.SIGINT)[0] == 0


def test_a_page_waits_for_a_run_that_matches(browser, watch, store):
    served = watch("-k", "data9 and kd")
    with visit(browser, served.url) as v:
        assert v.page.get_by_text("matches -k 'data9 and kd' so far.").is_visible()
        store.write(record("kd", 0, "data9", 0.9))
        row(v.page, "kd").wait_for()
        assert v.order() == ["kd"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_end_is_told_on_the_page_and_the_command_ends_well(browser, watch, store, sent):
    served = watch()
    with visit(browser, served.url, "dataset=data0") as v:
        v.page.get_by_text(LIVE).wait_for()
        asks_for_news(v)
        code, said = served.end(sent)
        v.page.get_by_text("Not live any more.", exact=True).wait_for()
        assert v.page.get_by_text("kdbench report --watch was ended at").is_visible()
        assert "Not live any more" in v.page.locator("p[role=status].hidden").inner_text()
        assert len(v.order()) == 5, "what there was is still there"
        row(v.page, "dkd").get_by_role("link").first.click()
        assert v.page.get_by_role("region", name="Runs").locator("tbody tr").count() == 3
    assert code == 0
    assert "Traceback" not in said
    assert "served no longer" in said


def test_a_server_that_is_killed_is_told_and_taken_up_again_when_it_is_back(browser, watch, store):
    served = watch()
    with visit(browser, served.url, "dataset=data0") as v:
        v.page.get_by_text(LIVE).wait_for()
        served.end(signal.SIGKILL)
        v.page.get_by_text("kdbench report --watch does not answer; it is asked again").wait_for()
        store.write(record("late", 0, "data0", 0.9))
        watch("--port", served.url.rstrip("/").rpartition(":")[2])
        v.page.get_by_role("button", name="Try again now").click()
        row(v.page, "late").wait_for()
        v.page.get_by_text(LIVE).wait_for()
        assert [each for each in v.complaints if not NETWORK.search(each)] == []
        v.complaints.clear()


def test_a_record_that_is_damaged_is_told_on_the_page_and_by_the_command(browser, watch, store):
    served = watch()
    with visit(browser, served.url, "dataset=data0") as v:
        v.page.get_by_text(LIVE).wait_for()
        place = store.directory / "runs" / "cut-short"
        place.mkdir()
        (place / "record.json").write_text('{"schema": 1, "run_id": "cut-')
        v.page.get_by_text("Something cannot be read and is left out").click()
        assert v.page.get_by_text(str(Path("runs") / "cut-short" / "record.json")).first.is_visible()
        assert len(v.order()) == 5
    assert "cut-short" in served.end()[1]


def test_new_runs_are_announced_once_a_minute_at_most(browser, watch, store):
    served = watch()
    with visit(browser, served.url, "dataset=data0") as v:
        v.page.clock.install()
        status = v.page.locator("p[role=status].hidden")
        for name in ("one", "two", "three"):
            store.write(record(name, 0, "data0", 0.9))
            row(v.page, name).wait_for()
            if name == "one":
                first = status.inner_text()
        assert first == status.inner_text() == "Live. 26 runs, 1 of them new."
        v.page.clock.fast_forward(61_000)
        v.page.get_by_text("Live. 28 runs, 2 of them new.").wait_for(state="attached")


def test_timings_are_shown_and_follow_their_file(browser, watch, store, tmp_path):
    path = write_timings(tmp_path / "kernels.json", {"test_one": (1e-5, 2e-5, 3e-5)})
    served = watch("--timings", "kernels.json")
    with visit(browser, served.url, "view=timings&sort=median") as v:
        assert v.order("Timings") == ["test_one"]
        write_timings(path, {"test_slow": (4e-5, 5e-5, 6e-5), "test_one": (1e-5, 2e-5, 3e-5)})
        v.page.get_by_role("row", name=re.compile("^test_slow")).wait_for()
        assert v.order("Timings") == ["test_one", "test_slow"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_while_it_is_live_and_after_the_end(browser, watch, store, scheme):
    (store.directory / "runs" / "broken").mkdir()
    served = watch()
    with visit(browser, served.url, "dataset=data0", color_scheme=scheme) as v:
        v.page.get_by_text(LIVE).wait_for()
        v.page.evaluate(axe())
        assert serious(v.page) == []
        asks_for_news(v)
        served.end()
        v.page.get_by_text("Not live any more.", exact=True).wait_for()
        assert serious(v.page) == []


def test_a_phone_shows_the_end_without_scrolling_sideways(browser, watch, store):
    served = watch()
    with visit(browser, served.url, viewport={"width": 375, "height": 740}) as v:
        v.page.get_by_text(LIVE).wait_for()
        asks_for_news(v)
        served.end()
        v.page.get_by_text("Not live any more.", exact=True).wait_for()
        assert v.page.evaluate("document.documentElement.scrollWidth") <= 375
