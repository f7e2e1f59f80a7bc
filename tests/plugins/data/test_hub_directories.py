"""Sets of the hub from directories of this machine: where they are found, and what is said of damaged ones."""

from __future__ import annotations

import os

import hub_tables
import msgspec
import numpy as np
import pytest

import kdbench
from kdbench.fetching import cache
from kdbench_data import CIFAR100, hub
from kdbench_images import imagenets, papers

datasets = pytest.importorskip("datasets")
CIFAR = {"train": [0, 1, 2] * 6, "test": [2, 1, 0]}


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """No request leaves this machine, nothing is cached outside the test, and data is looked for in it alone."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # of the commands that tests run
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def cifar10(splits=CIFAR):
    return hub_tables.parts(splits, image="img")


def cifar100(splits=CIFAR):
    return hub_tables.parts(splits, image="img", label="fine_label", coarse_label=7)


CARD = """---
configs:
- config_name: cifar100
  data_files:
  - {split: train, path: cifar100/train-*}
  - {split: test, path: cifar100/test-*}
---
# CIFAR-100
"""


class TestFound:
    @pytest.mark.parametrize("below", [".", "data", "cifar100"])
    def test_cifar100_as_parquet(self, here, below):
        hub_tables.write_parquet(cifar100(), here / "cifar100" / below)
        data = hub.cifar100()
        assert data.labels.tolist() == CIFAR["train"] + CIFAR["test"]
        assert list(data.classes) == ["cat", "dog", "eel"]
        assert data.split.tolist() == ["train"] * 18 + ["test"] * 3
        assert data.views()["input"].shape == (21, 3, 6, 5)
        assert str(here / "cifar100") in data.source

    def test_as_hf_download_leaves_it_with_its_card_and_its_own_notes(self, here):
        hub_tables.write_parquet(cifar100(), here / "cifar100/cifar100")
        (here / "cifar100/README.md").write_text(CARD)
        (here / "cifar100/.cache/huggingface/download").mkdir(parents=True)
        (here / "cifar100/.cache/huggingface/download/README.md.metadata").write_text("0\n0\n0\n")
        assert hub.cifar100().split.tolist() == ["train"] * 18 + ["test"] * 3

    def test_every_form_is_the_same_data(self, here):
        tables = cifar10()
        hub_tables.write_parquet(tables, here / "cifar10", shards=3)
        parquet = hub.cifar10()
        (here / "cifar10").rename(here / "parquet")
        datasets.DatasetDict({"test": tables["test"], "train": tables["train"]}).save_to_disk(here / "cifar10")
        saved = hub.cifar10()
        np.testing.assert_array_equal(saved.views()["input"], parquet.views()["input"])
        assert saved.labels.tolist() == parquet.labels.tolist()
        assert saved.split.tolist() == parquet.split.tolist()

    def test_in_the_working_directory(self, here, tmp_path, monkeypatch):
        monkeypatch.delenv("KDBENCH_DATA")
        hub_tables.write_parquet(cifar10(), tmp_path / "data/cifar10")
        assert len(hub.cifar10().labels) == 21

    def test_cifar100_paper_reads_the_directory_of_cifar100(self, here):
        hub_tables.write_parquet(cifar100(), here / "cifar100")
        data = papers.cifar100()
        assert np.bincount(data.labels[data.split == "validation"]).tolist() == [5, 5, 5]
        assert (data.split == "train").sum() == 3

    @pytest.mark.parametrize("valid", ["valid", "validation"])
    def test_tiny_imagenet(self, here, valid):
        hub_tables.write_parquet(hub_tables.parts({"train": [0, 1, 2], valid: [1, 0]}), here / "tiny-imagenet/data")
        data = imagenets.tiny_imagenet()
        assert data.split.tolist() == ["train"] * 3 + ["test"] * 2
        assert data.labels.tolist() == [0, 1, 2, 1, 0]

    @pytest.mark.parametrize("form", ["parquet", "saved"])
    def test_imagenet_leaves_out_its_unlabelled_test_split(self, here, form):
        tables = hub_tables.parts({"train": [0, 1, 2], "validation": [1, 0], "test": [-1, -1]})
        if form == "saved":
            tables.save_to_disk(here / "imagenet-1k")
        else:
            hub_tables.write_parquet(tables, here / "imagenet-1k/data")
        data = imagenets.imagenet_64()
        assert data.labels.tolist() == [0, 1, 2, 1, 0]
        assert data.split.tolist() == ["train"] * 3 + ["test"] * 2
        assert data.views()["input"].shape == (5, 3, 64, 64)

    def test_what_kdbench_fetched(self, here):
        directory = cache.directory(CIFAR100)
        hub_tables.write_parquet(cifar100(), directory / cache.FILES / "cifar100")
        (directory / cache.FILES / "README.md").write_text(CARD)
        (directory / cache.MANIFEST).write_bytes(msgspec.json.encode(cache.Manifest(CIFAR100, {}, "", "0" * 40)))
        assert len(hub.cifar100().labels) == 21
        hub_tables.write_parquet(cifar100({"train": [0, 1], "test": [2]}), here / "cifar100")
        assert len(hub.cifar100().labels) == 3  # one's own directory goes first


class TestDamaged:
    def test_a_damaged_parquet_file_is_named(self, here):
        files = hub_tables.write_parquet(cifar10(), here / "own", shards=2)
        files[1].write_bytes(files[1].read_bytes()[:-9])
        with pytest.raises(kdbench.InvalidData, match=rf"(?s)'hf:{here}/own': {here}/own cannot be loaded") as caught:
            hub.hub_dataset(f"{here}/own")
        assert caught.value.why.startswith(f"{files[1]} is damaged: Parquet magic bytes not found")

    def test_a_damaged_saved_file_is_named(self, here):
        cifar10().save_to_disk(here / "cifar10")
        (file,) = (here / "cifar10/test").glob("*.arrow")
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(kdbench.InvalidData, match=rf"(?s)cifar10 cannot be loaded\s+{file} is damaged: "):
            hub.cifar10()

    def test_a_column_that_does_not_decompress_is_told_with_what_the_library_says(self, here):
        (file,) = hub_tables.write_parquet(cifar10({"train": [0, 1, 2] * 100}), here / "own")
        content = bytearray(file.read_bytes())
        content[4 : len(content) // 2] = os.urandom(len(content) // 2 - 4)  # the footer is whole
        file.write_bytes(content)
        with pytest.raises(kdbench.InvalidData, match=r"(?s)own cannot be loaded.*the library 'datasets' says: \w"):
            hub.hub_dataset(f"{here}/own")

    def test_an_empty_directory(self, here):
        (here / "own").mkdir(parents=True)
        with pytest.raises(kdbench.InvalidData, match=r"(?s)own cannot be loaded.*check what it holds"):
            hub.hub_dataset(f"{here}/own")

    def test_its_runs_fail(self, here, kdbench):
        (file,) = hub_tables.write_parquet(cifar10({"train": [0, 1, 2]}), here / "own")
        file.write_bytes(b"PAR1")
        pair = ("--teacher", "mlp-l", "--student", "mlp-s", "--method", "kd", "--seeds", "1", "--device", "cpu")
        done = kdbench("run", "--dataset", f"hf:{here}/own", *pair)
        assert done.returncode == 1
        assert "cannot be loaded" in done.stdout + done.stderr
        assert "not on this machine" not in done.stdout + done.stderr

    def test_a_copy_that_was_broken_off_says_what_it_lacks_and_how_to_complete_it(self, here):
        files = hub_tables.write_parquet(cifar100(), here / "cifar100/cifar100", shards=3)
        files[1].unlink()
        message = r"(?s)is not complete.*lacks 1 of 3 files, train-00001-of-00003 the first.*hf download uoft-cs/"
        with pytest.raises(kdbench.InvalidData, match=message):
            hub.cifar100()

    def test_a_split_that_is_absent(self, here):
        hub_tables.write_parquet(cifar10({"train": [0, 1, 2]}), here / "cifar10")
        with pytest.raises(kdbench.InvalidData, match=r"(?s)'cifar10': .*cifar10 lacks the test split.*it has train"):
            hub.cifar10()

    def test_two_splits_for_one(self, here):
        tables = hub_tables.parts({"train": [0, 1, 2], "valid": [0], "validation": [1]})
        tables.save_to_disk(here / "tiny-imagenet")
        with pytest.raises(kdbench.InvalidData, match=r"(?s)two splits for test.*train, valid, validation"):
            imagenets.tiny_imagenet()


class TestAbsent:
    @pytest.mark.parametrize(
        ("factory", "name", "repository", "place"),
        [
            (hub.cifar10, "cifar10", "uoft-cs/cifar10", "cifar10"),
            (papers.cifar100, "cifar100", "uoft-cs/cifar100", "cifar100"),
            (imagenets.tiny_imagenet, "tiny-imagenet", "zh-plus/tiny-imagenet", "tiny-imagenet"),
            (imagenets.imagenet_64, "imagenet-64", "ILSVRC/imagenet-1k", "imagenet-1k"),
        ],
    )
    def test_every_way_to_get_it_is_told(self, here, monkeypatch, factory, name, repository, place):
        monkeypatch.setattr("kdbench_data.memory.available_bytes", lambda: 10**12)
        with pytest.raises(kdbench.DataNotAvailable, match=f"the library 'datasets' cannot load '{repository}'") as one:
            factory()
        assert f"kdbench data fetch {name}; or on a machine with network: " in one.value.fix
        assert f"hf download {repository} --repo-type dataset --local-dir DIR/{place}, and KDBENCH_DATA=DIR" in (
            one.value.fix
        )

    def test_runs_that_were_not_run_tell_it_too(self, here, kdbench):
        pair = ("--teacher", "mlp-l", "--student", "mlp-s", "--method", "kd", "--seeds", "1")
        done = kdbench("run", "--dataset", "cifar10", *pair)
        said = " ".join((done.stdout + done.stderr).split())
        assert "hf download uoft-cs/cifar10 --repo-type dataset" in said

    def test_a_revision_goes_to_the_library_and_a_directory_has_none(self, here, monkeypatch):
        asked = {}

        def load(name, config, **options):
            asked.update(options)
            return hub_tables.parts(CIFAR)

        monkeypatch.setattr(datasets, "load_dataset", load)
        assert len(hub.hub_dataset("words/data?revision=v2").labels) == 21
        assert asked == {"revision": "v2"}
        here.mkdir()
        with pytest.raises(kdbench.InvalidParameter, match="a directory has no revision"):
            hub.hub_dataset(f"{here}?revision=v2")
