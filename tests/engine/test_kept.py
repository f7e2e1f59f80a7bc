"""What is made of a teacher once, and kept beside it."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdbench.engine import kept
from kdbench.engine.kept import made_of_teacher
from kdbench.errors import StoreError

MADE = {"tokens": torch.arange(6).view(2, 3), "3/weight": torch.randn(4, generator=torch.Generator().manual_seed(0))}


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Tensor]:
        self.times += 1
        return MADE


def test_it_is_made_once_for_a_teacher_a_name_and_what_decides_it(tmp_path):
    make, other = Maker(), tmp_path / "other"
    other.mkdir()
    for _ in range(2):
        found = made_of_teacher(tmp_path, "text", [5, "32-true"], make)
        assert found.keys() == MADE.keys()
        assert all(found[name].equal(value) and found[name].dtype == value.dtype for name, value in MADE.items())
    assert make.times == 1
    for place, name, parts in ((tmp_path, "text", [6, "32-true"]), (tmp_path, "states", [5, "32-true"]),
                               (other, "text", [5, "32-true"]), (None, "text", [5, "32-true"])):  # fmt: skip
        before = make.times
        made_of_teacher(place, name, parts, make)
        assert make.times == before + 1


def test_what_is_made_can_be_changed_without_changing_what_it_was_made_from(tmp_path):
    mine = torch.zeros(3)
    made_of_teacher(None, "text", 1, lambda: {"mine": mine})["mine"].add_(1)
    made_of_teacher(tmp_path, "text", 1, lambda: {"mine": mine})["mine"].add_(1)
    assert not mine.any()
    assert not made_of_teacher(tmp_path, "text", 1, Maker())["mine"].any()


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_damaged_file_is_made_again_with_a_warning_that_names_it(tmp_path, part):
    make = Maker()
    made_of_teacher(tmp_path, "text", 1, make)
    (file,) = (tmp_path / "made").glob("*.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged .*: it is made again"):
        made_of_teacher(tmp_path, "text", 1, make)
    assert made_of_teacher(tmp_path, "text", 1, make)["tokens"].equal(MADE["tokens"])
    assert make.times == 2


def test_what_would_fill_the_disk_is_not_kept(tmp_path, monkeypatch):
    make = Maker()
    monkeypatch.setattr(kept, "ON_DISK_BYTES", 10)
    for _ in range(2):
        assert made_of_teacher(tmp_path, "text", 1, make)["tokens"].equal(MADE["tokens"])
    assert make.times == 2
    assert not list((tmp_path / "made").glob("*.safetensors"))


def test_what_fails_leaves_nothing_behind(tmp_path):
    def fails() -> dict[str, Tensor]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        made_of_teacher(tmp_path, "text", 1, fails)
    make = Maker()
    made_of_teacher(tmp_path, "text", 1, make)
    assert make.times == 1


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept, "replace_file", full)
    with pytest.raises(StoreError, match=r"(?s)cannot keep what was made of a teacher in .*text.*No space left.*--out"):
        made_of_teacher(tmp_path, "text", 1, Maker())


def _make_slowly(directory: Path, results) -> None:
    def make() -> dict[str, Tensor]:
        results.put("made")
        return MADE

    made_of_teacher(directory, "text", 1, make)


def test_processes_that_ask_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_make_slowly, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert results.get(timeout=5) == "made"
    assert results.empty()
