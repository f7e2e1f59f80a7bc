"""How far a long preparation is, on a clock that only the test moves."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench import preparation
from kdbench.fetching.prepared import remember
from kdbench.preparation import FIRST_SECONDS, SECONDS, Preparation, kept


@pytest.fixture
def told(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(preparation, "_process", preparation._Process(lines.append))
    return lines


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_short_preparation_says_nothing(told):
    clock = Clock()
    short = Preparation("pictures", 10, clock=clock)
    with kept():
        for number in range(1, 11):
            clock.now += FIRST_SECONDS / 11
            short.done(number)
    assert told == []


def test_a_long_one_is_told_now_and_then_and_at_its_end(told):
    clock = Clock()
    long = Preparation("pictures", 1200, clock=clock)
    with kept():
        for number in range(1, 1201):
            clock.now += 0.125
            long.done(number)
    assert told[0] == "pictures: 40 of 1,200, about 3 min left"
    assert told[-1] == "pictures: 1,200 of 1,200"
    assert len(told) == 2 + int((150 - FIRST_SECONDS) // SECONDS)


def test_what_is_not_kept_is_not_told(told):
    clock = Clock()
    long = Preparation("pictures", 10, clock=clock)
    clock.now += 100
    long.done(5)
    long.done(10)
    assert told == []


def test_blocks_within_one_another_are_counted_once(told, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(preparation.time, "monotonic", clock)
    with kept():
        clock.now += 2
        with kept():
            clock.now += 3
    clock.now += 10
    assert preparation.kept_seconds() == 5


def test_arrays_that_are_kept_count_when_they_are_made(told, monkeypatch, tmp_path):
    clock = Clock()
    monkeypatch.setattr(preparation.time, "monotonic", clock)
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))

    def build():
        clock.now += 4
        return {"x": np.ones(3)}

    for _ in range(2):
        remember("counted", [], build)
    assert preparation.kept_seconds() == 4


def test_who_listens_is_told(monkeypatch):
    monkeypatch.setattr(preparation, "_process", preparation._Process())
    lines: list[str] = []
    preparation.listen(lines.append)
    preparation.tell("one moment")
    assert lines == ["one moment"]


def test_by_default_it_goes_to_stderr(monkeypatch, capsys):
    monkeypatch.setattr(preparation, "_process", preparation._Process())
    preparation.tell("one moment")
    assert capsys.readouterr() == ("", "one moment\n")
