"""A large store's summaries come from one file, which is never believed further than the records themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from report_runs import a_run

from kdbench import summary_cache
from kdbench.errors import RecordError
from kdbench.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(summary_cache, "LEAST", 3)
    store = Store.open(tmp_path / "results")
    for seed in range(4):
        store.write(a_run(seed=seed, value=seed / 10))
    return store


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "stores").glob("*"))


def test_a_second_look_reads_no_record_and_says_the_same(store, read, tmp_path):
    before = sorted(path.name for path in store.directory.iterdir())
    first, count = store.summaries(), len(read)
    assert store.summaries() == first
    assert len(read) == count == 4
    assert len(kept(tmp_path)) == 1
    assert sorted(path.name for path in store.directory.iterdir()) == before, "nothing is added to the results"


def test_what_is_new_replaced_or_gone_is_seen(store, read):
    store.summaries()
    read.clear()
    store.write(a_run(seed=2, value=0.9), replace=True)
    store.write(a_run(seed=9, value=0.5))
    os.rename(store.directory / "runs" / "kd-0-None", store.directory / "tmp" / "gone")
    found = {summary.seed: summary.metrics["accuracy"] for summary in store.summaries()}
    assert found == {1: 0.1, 2: 0.9, 3: 0.3, 9: 0.5}
    assert sorted(read) == ["kd-2-None", "kd-9-None"]


def test_a_record_of_the_same_size_that_was_changed_in_place_is_read_again(store):
    store.summaries()
    path = store.directory / "runs" / "kd-1-None" / "record.json"
    changed = path.read_text().replace('"accuracy":0.1', '"accuracy":0.7')
    path.write_text(changed)
    os.utime(path, ns=(1, 1))
    assert {s.seed: s.metrics["accuracy"] for s in store.summaries()}[1] == 0.7


def test_a_record_that_is_damaged_later_is_told_and_not_answered_from_the_file(store):
    store.summaries()
    path = store.directory / "runs" / "kd-1-None" / "record.json"
    path.write_text("{")
    problems: list[RecordError] = []
    assert [summary.seed for summary in store.summaries(problems=problems)] == [0, 2, 3]
    assert [str(path) in str(problem) for problem in problems] == [True]
    with pytest.raises(RecordError):
        store.summaries()


@pytest.mark.parametrize("content", [b"", b"\xc1 nonsense", b"\x93\xa1x\x90\x90"])
def test_a_file_that_cannot_be_used_is_made_again(store, read, tmp_path, content):
    first = store.summaries()
    (file,) = kept(tmp_path)
    file.write_bytes(content)
    assert store.summaries() == first
    read.clear()
    assert store.summaries() == first
    assert read == []


def test_another_version_reads_the_records_itself(store, read, monkeypatch):
    store.summaries()
    read.clear()
    monkeypatch.setattr(summary_cache, "__version__", "next")
    assert len(store.summaries()) == len(read) == 4


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(store, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "file" / "below"))
    assert len(store.summaries()) == 4


def test_small_stores_keep_nothing(store, monkeypatch, tmp_path):
    monkeypatch.setattr(summary_cache, "LEAST", 5)
    assert len(store.summaries()) == 4
    assert kept(tmp_path) == []
