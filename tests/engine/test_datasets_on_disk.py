"""Data that stays on disk is the same dataset: cleaned, split, standardised and fingerprinted as in memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import kdbench
from kdbench.engine import cleaning, once, preprocessing
from kdbench.engine import datasets as engine_datasets
from kdbench.engine.datasets import prepare
from kdbench.engine.disk_view import DiskView
from kdbench.testing import check_dataset

ITEMS = 60


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pictures(items: int = ITEMS, side: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (items, 3, side, side), dtype=np.uint8)


def mapped(path: Path, array: np.ndarray) -> np.memmap:
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def data(inputs, **more) -> kdbench.Data:
    items = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    official = np.array(["train", "train", "test"])[np.arange(items) % 3]
    return kdbench.Data(
        inputs, np.arange(items) % 4, list("abcd"), **({"split": official, "preprocess": "image"} | more)
    )


def with_copies() -> np.ndarray:
    """Items 4 and 8 are equal, of one class; 5 and 6 equal, of two; 2, of test, and 14, of train, are equal too."""
    array = pictures()
    array[8], array[6], array[14] = array[4], array[5], array[2]
    return array


def check_equal(one: engine_datasets.Dataset, other: engine_datasets.Dataset) -> None:
    assert one.fingerprint == other.fingerprint
    assert one.removed == other.removed
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(one, part), getattr(other, part)
        assert ours.index.equal(theirs.index)
        assert ours.labels.equal(theirs.labels)
        for view in one.views:
            assert ours.inputs[view][:].equal(theirs.inputs[view][:])
    assert [one.info(view) for view in one.views] == [other.info(view) for view in one.views]


@pytest.mark.parametrize("array", [pictures(), with_copies(), pictures()[:, :1], pictures()[:, 0].copy()])
def test_it_is_the_dataset_that_it_is_in_memory(tmp_path, array):
    array = np.ascontiguousarray(array)
    on_disk = prepare("all", data(mapped(tmp_path / "all.npy", array)), fold=None, folds=None)
    assert isinstance(on_disk.train.inputs["input"], DiskView)
    for _ in range(2):  # the second time what is kept serves
        check_equal(prepare("all", data(mapped(tmp_path / "all.npy", array)), fold=None, folds=None), on_disk)
    check_equal(prepare("all", data(array), fold=None, folds=None), on_disk)


def test_copies_are_removed(tmp_path):
    dataset = prepare("all", data(mapped(tmp_path / "all.npy", with_copies())), fold=None, folds=None)
    assert dataset.removed == 4


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_every_fold_has_statistics_of_its_own(tmp_path, fold):
    array = mapped(tmp_path / "all.npy", pictures())
    one = prepare("all", data(array), fold=fold, folds=3)
    check_equal(one, prepare("all", data(pictures()), fold=fold, folds=3))
    train = one.train.inputs["input"][:]
    assert float(train.mean()) == pytest.approx(0, abs=1e-5)
    assert float(train.std(correction=0)) == pytest.approx(1, abs=1e-3)


def test_views_in_memory_and_on_disk_together(tmp_path):
    array, more = pictures(), np.random.default_rng(3).normal(size=(ITEMS, 5))
    how = {"preprocess": {"a": "image", "b": "standardize"}}
    one = prepare("all", data({"a": mapped(tmp_path / "all.npy", array), "b": more}, **how), fold=None, folds=None)
    check_equal(one, prepare("all", data({"a": array, "b": more}, **how), fold=None, folds=None))
    other = more + (np.arange(ITEMS) == 7)[:, None]
    two = prepare("all", data({"a": mapped(tmp_path / "all.npy", array), "b": other}, **how), fold=None, folds=None)
    check_equal(two, prepare("all", data({"a": array, "b": other}, **how), fold=None, folds=None))
    assert two.fingerprint != one.fingerprint


def test_a_part_of_a_file_is_not_taken_for_another(tmp_path):
    whole = mapped(tmp_path / "all.npy", pictures(2 * ITEMS))
    for part in (whole[:ITEMS], whole[ITEMS:], whole[::2]):
        check_equal(
            prepare("all", data(part), fold=None, folds=None),
            prepare("all", data(np.array(part)), fold=None, folds=None),
        )


@pytest.mark.parametrize(
    "change", [{"split": None}, {"labels": (np.arange(ITEMS) + 1) % 4}, {"groups": np.arange(ITEMS) % 30}]
)
def test_what_else_decides_the_fingerprint_still_does(tmp_path, change):
    array = mapped(tmp_path / "all.npy", pictures())
    one = prepare("all", data(array), fold=None, folds=None)
    given = {"labels": np.arange(ITEMS) % 4, "split": None} | change
    more = {"classes": list("abcd"), "preprocess": "image", **given}
    found = prepare("all", kdbench.Data(array, **more), fold=None, folds=None)
    assert found.fingerprint != one.fingerprint
    assert found.fingerprint == prepare("all", kdbench.Data(pictures(), **more), fold=None, folds=None).fingerprint


class TestKept:
    """What took a pass over the file is kept: told by a file that changes unseen."""

    def change_unseen(self, path: Path, *, time_stays: bool) -> None:
        status = path.stat()
        np.save(path, pictures(seed=1))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (0 if time_stays else 1000)))

    def fingerprint(self, path: Path) -> str:
        return prepare("all", data(np.load(path, mmap_mode="r")), fold=None, folds=None).fingerprint

    def test_nothing_is_read_again(self, tmp_path):
        path = tmp_path / "all.npy"
        mapped(path, pictures())
        before = self.fingerprint(path)
        self.change_unseen(path, time_stays=True)
        assert self.fingerprint(path) == before

    def test_a_file_that_changed_is(self, tmp_path):
        path = tmp_path / "all.npy"
        mapped(path, pictures())
        before = self.fingerprint(path)
        self.change_unseen(path, time_stays=False)
        assert self.fingerprint(path) != before

    def test_another_version_of_the_protocol_reads_it_again(self, tmp_path, monkeypatch):
        path = tmp_path / "all.npy"
        mapped(path, pictures())
        self.fingerprint(path)
        self.change_unseen(path, time_stays=True)
        monkeypatch.setattr(once, "PROTOCOL", once.PROTOCOL + 1)
        changed = prepare("all", data(pictures(seed=1)), fold=None, folds=None).fingerprint
        assert self.fingerprint(path) == changed

    def test_of_data_in_memory_nothing_is_kept(self, cache):
        prepare("all", data(pictures()), fold=None, folds=None)
        assert not cache.exists()


def test_memory_is_bounded_whatever_the_size_of_the_file(tmp_path, monkeypatch):
    chunk = 1 << 16
    for module in (cleaning, preprocessing, engine_datasets):
        name = "CHUNK_BYTES" if hasattr(module, "CHUNK_BYTES") else "_CHUNK_BYTES"
        monkeypatch.setattr(module, name, chunk)
    array = mapped(tmp_path / "all.npy", pictures(1200, 32))
    assert array.nbytes > 50 * chunk
    tracemalloc.start()
    try:
        dataset = prepare("all", data(array), fold=None, folds=None)
        view = dataset.train.inputs["input"]
        for batch in view.split(8):
            assert batch.isfinite().all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes / 4


def test_floats_in_a_file_are_read_into_memory(tmp_path):
    array = np.random.default_rng(0).normal(size=(ITEMS, 5)).astype(np.float32)
    how = {"preprocess": "standardize"}
    one = prepare("all", data(mapped(tmp_path / "all.npy", array), **how), fold=None, folds=None)
    assert not isinstance(one.train.inputs["input"], DiskView)
    check_equal(one, prepare("all", data(array, **how), fold=None, folds=None))


def test_the_conformance_kit_takes_it(tmp_path):
    array = mapped(tmp_path / "all.npy", pictures())
    check_dataset(lambda: data(array))
