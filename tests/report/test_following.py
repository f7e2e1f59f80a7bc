"""A store that others write to is read again where it changed, and the page's content made again only then."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from threading import Thread

import pytest
from page_runs import fill, keep, record
from report_runs import a_run
from timing_files import write_timings

from kdbench.report.live import following
from kdbench.report.live.following import SCAN_SECONDS, FollowedStore, FollowedTimings
from kdbench.report.live.snapshots import INTERVAL, REST, Shown, Snapshots
from kdbench.store import Store


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.open(tmp_path / "results")
    for seed in range(3):
        store.write(a_run(seed=seed, value=seed / 10))
    return store


def settled(followed: FollowedStore) -> FollowedStore:
    """After the first look and the one that makes sure of it."""
    assert followed.look()
    assert not followed.look()
    return followed


def values(followed: FollowedStore) -> dict[int, float | None]:
    return {summary.seed: summary.metrics.get("accuracy") for summary in followed.summaries}


def test_what_did_not_change_is_not_even_looked_at(store, clock, monkeypatch):
    followed = settled(FollowedStore(store.directory, clock))
    monkeypatch.setattr(Store, "refreshed", lambda *_, **__: pytest.fail("the records were looked at"))
    assert not followed.look()


def test_only_records_that_are_new_or_replaced_are_read(store, clock, read):
    followed = settled(FollowedStore(store.directory, clock))
    read.clear()
    store.write(a_run(seed=7, value=0.7))
    store.write(a_run(seed=1, value=0.9), replace=True)
    assert followed.look()
    assert sorted(read) == ["kd-1-None", "kd-7-None"]
    assert values(followed) == {0: 0.0, 1: 0.9, 2: 0.2, 7: 0.7}
    shutil.rmtree(store.directory / "runs" / "kd-0-None")
    assert followed.look()
    assert set(values(followed)) == {1, 2, 7}


def test_a_change_that_leaves_the_mark_of_the_last_one_is_found_by_the_look_after_it(store, clock):
    followed = FollowedStore(store.directory, clock)
    assert followed.look()
    runs = store.directory / "runs"
    mark = os.stat(runs)
    store.write(a_run(seed=8, value=0.8))
    os.utime(runs, ns=(mark.st_atime_ns, mark.st_mtime_ns))
    assert followed.look()
    assert 8 in values(followed)


def test_a_record_changed_in_its_place_is_seen_after_a_while(store, clock):
    followed = settled(FollowedStore(store.directory, clock))
    path = store.directory / "runs" / "kd-2-None" / "record.json"
    path.write_text(path.read_text().replace('"accuracy":0.2', '"accuracy":0.6'))
    os.utime(path, ns=(1, 1))
    assert not followed.look()
    clock.now += SCAN_SECONDS
    assert followed.look()
    assert values(followed)[2] == 0.6


def test_a_record_that_is_damaged_is_left_out_and_told_until_it_is_mended(store, clock):
    followed = settled(FollowedStore(store.directory, clock))
    path = store.directory / "runs" / "kd-2-None" / "record.json"
    sound = path.read_bytes()
    path.write_bytes(sound[:40])
    clock.now += SCAN_SECONDS
    assert followed.look()
    assert set(values(followed)) == {0, 1}
    (problem,) = followed.problems
    assert str(path) in problem
    path.write_bytes(sound)
    clock.now += SCAN_SECONDS
    assert followed.look()
    assert (set(values(followed)), followed.problems) == ({0, 1, 2}, [])


@pytest.mark.parametrize("begun", [(), ("",), ("", "runs", "tmp", "locks")], ids=["not there", "empty", "begun"])
def test_a_directory_may_become_a_store_later(tmp_path, clock, begun):
    directory = tmp_path / "later"
    for name in begun:
        (directory / name).mkdir()
    followed = FollowedStore(directory, clock)
    assert not followed.look()
    assert (followed.summaries, followed.problems) == ([], [])
    Store.open(directory).write(a_run(seed=5, value=0.5))
    assert followed.look()
    assert values(followed) == {5: 0.5}


def test_a_directory_that_becomes_something_else_is_told(tmp_path, clock):
    followed = FollowedStore(tmp_path / "later", clock)
    assert not followed.look()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "thesis.tex").write_text("x")
    assert followed.look()
    assert "is not a kdbench results directory" in followed.problems[0]
    assert not followed.look(), "it is told once"


def test_a_store_that_is_taken_away_has_no_runs(store, clock):
    followed = settled(FollowedStore(store.directory, clock))
    shutil.rmtree(store.directory)
    assert followed.look()
    assert followed.summaries == []


def test_timings_that_are_written_again_are_read_again_and_kept_where_they_cannot_be(tmp_path):
    path = write_timings(tmp_path / "a.json", {"x": (1.0, 2.0, 3.0)})
    followed = FollowedTimings([path])
    assert not followed.look()
    path.write_text("{")
    assert followed.look()
    assert "holds no timings" in followed.problems[0]
    assert [t.fullname for t in followed.files[0].timings.benchmarks] == ["x"]
    write_timings(path, {"yy": (1.0, 2.0, 3.0)})
    assert followed.look()
    assert [t.fullname for t in followed.files[0].timings.benchmarks] == ["yy"]
    assert followed.problems == []


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def snapshots(tmp_path, clock, told) -> Callable[..., Snapshots]:
    def make(**shown) -> Snapshots:
        runs = FollowedStore(tmp_path / "results", clock)
        return Snapshots(runs, FollowedTimings([]), Shown(**shown), told.append, clock, clock)

    return make


def content(snapshot) -> dict:
    return json.loads(gzip.decompress(snapshot.body))


def test_nothing_is_made_again_while_nothing_changed(snapshots, store, clock, monkeypatch):
    made = snapshots()
    first = made.current()
    monkeypatch.setattr(Snapshots, "_made", lambda _: pytest.fail("it was made again"))
    for _ in range(3):
        clock.now += INTERVAL
        assert made.current() is first
    assert made.newer_than(first.version, patience=0) is None


def test_looks_are_no_closer_than_the_interval_or_four_times_the_last_one(snapshots, store, clock, monkeypatch):
    looks = []

    def look(self: FollowedStore) -> bool:
        looks.append(clock.now)
        clock.now += 3.0 if len(looks) <= 2 else 0.0
        return len(looks) <= 2

    monkeypatch.setattr(following.FollowedStore, "look", look)
    made = snapshots()
    while clock.now < 130:
        made.current()
        clock.now += 0.25
    second = 100.0 + 3.0 + INTERVAL  # the first has to read everything, whatever it takes
    assert looks[:3] == [100.0, second, second + 3.0 + REST * 3.0]
    assert {after - before for before, after in pairwise(looks[2:])} == {INTERVAL}


def test_the_version_is_that_of_what_is_shown(snapshots, store, clock):
    made = snapshots(chosen=lambda combo: combo.endswith("/kd"))
    first = made.current()
    clock.now += INTERVAL
    store.write(a_run("dkd", seed=1, value=0.3))
    assert made.newer_than(first.version, patience=0) is None, "what is not shown is not new"
    clock.now += INTERVAL
    store.write(a_run(seed=6, value=0.3))
    newer = made.newer_than(first.version, patience=0)
    assert len(content(newer)["content"]["runs"]["id"]) == 4
    assert newer.version == content(newer)["version"] != first.version


def test_a_question_is_answered_as_soon_as_a_run_lands(store, tmp_path):
    made = Snapshots(FollowedStore(store.directory), FollowedTimings([]), Shown(), print)
    first, answers = made.current(), []
    asking = Thread(target=lambda: answers.append(made.newer_than(first.version, patience=60)), daemon=True)
    asking.start()
    store.write(a_run(seed=4, value=0.4))
    asking.join(50)
    assert sorted(content(answers[0])["content"]["runs"]["seed"]) == [0, 1, 2, 4]


def test_the_end_lets_those_who_wait_go(store):
    made = Snapshots(FollowedStore(store.directory), FollowedTimings([]), Shown(), print)
    first, answers = made.current(), []
    asking = Thread(target=lambda: answers.append(made.newer_than(first.version, patience=60)), daemon=True)
    asking.start()
    made.end()
    asking.join(50)
    assert answers == [None]
    assert made.ended


def test_problems_are_told_once_and_are_in_the_content(snapshots, store, clock, told):
    (store.directory / "runs" / "kd-1-None" / "record.json").write_text("{")
    made = snapshots()
    for seed in (5, 6):
        assert "kd-1-None" in content(made.current())["content"]["live"]["problems"][0]
        store.write(a_run(seed=seed, value=0.5))
        clock.now += INTERVAL
    assert len(told) == 1
    assert told[0].startswith("warning: ")


def test_a_metric_that_no_run_has_yet_is_told_and_shown_as_soon_as_one_has(snapshots, store, clock, told):
    made = snapshots(metric="roc_auc")
    shown = content(made.current())["content"]
    assert (shown["runs"]["id"], "no run has a metric 'roc_auc'" in shown["live"]["problems"][0]) == ([], True)
    clock.now += INTERVAL
    store.write(a_run(seed=9, value=0.5, metrics={"roc_auc": 0.75}))
    shown = content(made.current())["content"]
    assert (shown["metric"], shown["live"]["problems"]) == ("roc_auc", [])
    assert len(told) == 1


def test_details_are_those_of_the_asked_row_as_it_is_now(tmp_path, clock):
    store = Store.open(tmp_path / "results")
    fill(store, datasets=1)
    made = Snapshots(FollowedStore(store.directory, clock), FollowedTimings([]), Shown(), print, clock, clock)
    rows = made.current().rows
    (key,) = [key for key, (run_ids, _) in rows.items() if record("dkd", 0, "data0", 0.9).run_id in run_ids]
    found = made.details(key)
    assert len(found) == 3
    assert all(each["curves"] and each["versus"] and len(each["history"]["epoch"]) == 9 for each in found.values())
    keep(store, record("dkd", 3, "data0", 0.9))
    clock.now += INTERVAL
    assert len(made.details(key)) == 4
    assert made.details("no such row") == {}
