"""Datasets of the hub, in the formats that the library `datasets` reads from disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kdbench
from kdbench_data import hub

datasets = pytest.importorskip("datasets")
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No request leaves this machine, and nothing is cached outside the test."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def part(start: int, stop: int, **columns: object):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "eel"])})
    rows = {
        "img": [Image.fromarray(image) for image in IMAGES[start:stop]],
        "label": [n % 3 for n in range(start, stop)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_saved_dataset(tmp_path):
    parts = {"train": part(0, 6), "test": part(6, 9), "unsupervised": part(0, 3)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    data = hub.hub_dataset(str(tmp_path / "saved"))
    np.testing.assert_array_equal(data.views()["input"], IMAGES.transpose(0, 3, 1, 2))
    assert list(data.classes) == ["cat", "dog", "eel"]
    assert data.labels.tolist() == [0, 1, 2] * 3
    assert data.split.tolist() == ["train"] * 6 + ["test"] * 3


def test_one_saved_part_has_no_official_split(tmp_path):
    part(0, 9).save_to_disk(tmp_path / "saved")
    data = hub.hub_dataset(f"{tmp_path / 'saved'}?size=4")
    assert data.split is None
    assert data.views()["input"].shape == (9, 3, 4, 4)


def test_a_directory_of_pictures_as_the_hub_has_them(tmp_path):
    for number, image in enumerate(IMAGES):
        folder = tmp_path / ("test" if number > 5 else "train") / ("ab"[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    data = hub.hub_dataset(str(tmp_path))
    assert sorted(data.split.tolist()) == ["test"] * 3 + ["train"] * 6
    assert list(data.classes) == ["a", "b"]
    assert data.task == "binary"


def test_cifar_from_parquet_as_the_hub_has_it(tmp_path, monkeypatch):
    """CIFAR-100's columns; the directory stands where the hub's name is looked up."""
    for split, stop in (("train", 6), ("test", 3)):
        fine = part(0, stop).rename_column("label", "fine_label")
        coarse = fine.add_column("coarse_label", [0] * stop)
        coarse.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    load = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: load(str(tmp_path), config))
    data = hub.cifar100()
    assert data.views()["input"].shape == (9, 3, 6, 5)
    assert list(data.classes) == ["cat", "dog", "eel"]


def test_integers_without_names(tmp_path):
    table = part(0, 9).cast_column("label", datasets.Value("int64"))
    table.save_to_disk(tmp_path / "saved")
    assert list(hub.hub_dataset(str(tmp_path / "saved")).classes) == ["0", "1", "2"]


def test_columns_that_cannot_be_told(tmp_path):
    table = part(0, 9).add_column("target", [0, 1, 2] * 3)
    table.save_to_disk(tmp_path / "saved")
    with pytest.raises(kdbench.InvalidData, match=r"(?s)cannot tell its label column.*label, target.*\?label=COLUMN"):
        hub.hub_dataset(str(tmp_path / "saved"))
    assert len(hub.hub_dataset(f"{tmp_path / 'saved'}?label=target").classes) == 3
    with pytest.raises(kdbench.InvalidData, match="no column 'photo'"):
        hub.hub_dataset(f"{tmp_path / 'saved'}?image=photo&label=target")


def test_a_table_is_not_pictures(tmp_path):
    pd.DataFrame({"a": [1.0, 2.0], "label": [0, 1]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(kdbench.InvalidData, match="cannot tell its image column"):
        hub.hub_dataset(str(tmp_path))


def test_offline(tmp_path):
    with pytest.raises(kdbench.DataNotAvailable, match=r"(?s)cannot load 'nobody/nothing'.*on a machine with network"):
        hub.hub_dataset("nobody/nothing")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(
        kdbench.DataNotAvailable, match=r"(?s)library 'datasets'.*missing.*pip install 'kdbench\[hub\]'"
    ):
        hub.cifar10()
