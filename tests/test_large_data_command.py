"""`kdbench run` on pictures that do not fit into memory."""

from __future__ import annotations

import large_pictures
import pytest

from kdbench.records import Record
from kdbench.store import Store

RUN = (
    "--teacher", "cnn-s", "--student", "cnn-s", "--method", "kd", "--method", "scratch", "--device", "cpu",
    "--seeds", 1, "--set", "recipe.epochs=2", "--set", "teacher_recipe.epochs=1", "--set", "recipe.batch_size=16",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    large_pictures.make(tmp_path)


def records(directory) -> list[Record]:
    return sorted(Store.open(directory, create=False).records(), key=lambda record: (record.method, record.seed))


@pytest.mark.parametrize("how", [("--workers", 2), ("--devices", 2)])
def test_runs_are_the_same_as_in_memory_and_the_preparation_is_told(kdbench, tmp_path, how):
    said = {}
    for place in ("on_disk", "in_memory"):
        done = kdbench("run", "--dataset", f"large_pictures:{place}", *RUN, *how, "--out", tmp_path / place)
        assert done.returncode == 0, done.stderr
        said[place] = done.stderr
    assert "imagefolder:pictures: pictures prepared on disk: 120 of 120" in said["on_disk"]
    assert "prepared on disk" not in said["in_memory"]
    for one, other in zip(records(tmp_path / "on_disk"), records(tmp_path / "in_memory"), strict=True):
        assert one.status == "ok", one.error
        for field in ("metrics", "val_metrics", "teacher_metrics", "history", "confusion"):
            assert getattr(one, field) == getattr(other, field), (one.method, field)
        assert one.provenance.dataset_fingerprint == other.provenance.dataset_fingerprint


def test_a_dry_run_prepares_and_says_so(kdbench, tmp_path):
    done = kdbench("run", "--dataset", "large_pictures:on_disk", *RUN, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "pictures prepared on disk: 120 of 120" in done.stderr
    assert len(list((tmp_path / "cache/prepared").glob("*.npy"))) == 1
