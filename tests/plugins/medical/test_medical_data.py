"""Medical tables and pictures, from small files in the formats of the real ones."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.testing import check_dataset
from kdbench_data.bundled import breast_cancer
from kdbench_data.npz import npz, npz_multilabel
from kdbench_medical import medmnist
from kdbench_medical.sets import SETS
from kdbench_medical.tables import UNKNOWN, read_pima, wdbc

FACTS = Path(__file__).with_name("medmnist_sets.json")
FACTS_OF = "3.0.2"
"""The version of the package medmnist that says so of its sets in two dimensions: names, tasks, licences, channels,
items of train, validation and test, and the classes in the order of the labels."""
TASKS = {"binary-class": "binary", "multi-label, binary-class": "multilabel"}
COUNTS = {"train": 12, "val": 6, "test": 8}


def write_set(path, labels, *, colour=True, **changes):
    """A file as MedMNIST has them: pictures 28x28 uint8, labels (N, 1), or (N, C) of several."""
    random, arrays = np.random.default_rng(0), {}
    for part, items in COUNTS.items():
        shape = (items, 28, 28, 3) if colour else (items, 28, 28)
        arrays[f"{part}_images"] = random.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{part}_labels"] = labels(items)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays | changes)
    return path, arrays


def of_classes(classes):
    return lambda items: (np.arange(items) % classes)[:, None].astype(np.uint8)


def of_findings(items):
    return np.random.default_rng(items).integers(0, 2, (items, 14)).astype(np.uint8)


class TestMedMNIST:
    def test_a_set_of_classes_keeps_its_official_split(self, tmp_path):
        path, arrays = write_set(tmp_path / "bloodmnist.npz", of_classes(8))
        data = medmnist.read("bloodmnist", path)
        assert (data.task, len(data.classes)) == ("multiclass", 8)
        assert data.split.tolist() == ["train"] * 12 + ["validation"] * 6 + ["test"] * 8
        np.testing.assert_array_equal(data.views()["input"][12], arrays["val_images"][0].transpose(2, 0, 1))
        assert data.labels[12:18].tolist() == [0, 1, 2, 3, 4, 5]
        check_dataset(lambda: data)
        ready = prepare("bloodmnist", data, fold=None, folds=None)
        assert [len(part.labels) for part in (ready.train, ready.validation, ready.test)] == [12, 6, 8]

    def test_findings_are_several_labels_an_item(self, tmp_path):
        path, arrays = write_set(tmp_path / "chestmnist.npz", of_findings, colour=False)
        data = medmnist.read("chestmnist", path)
        assert data.task == "multilabel"
        np.testing.assert_array_equal(data.labels[:12], arrays["train_labels"])
        check_dataset(lambda: data)
        plain = npz_multilabel(str(path))
        assert (plain.task, len(plain.classes)) == ("multilabel", 14)
        np.testing.assert_array_equal(plain.labels, data.labels)

    def test_several_labels_are_pointed_to_the_scheme_that_takes_them(self, tmp_path):
        path, _ = write_set(tmp_path / "chestmnist.npz", of_findings, colour=False)
        with pytest.raises(kdbench.InvalidData, match=r"(?s)train_labels has shape \(12, 14\).*npz-multilabel:.*chest"):
            npz(str(path))
        single, _ = write_set(tmp_path / "flat.npz", lambda items: np.arange(items) % 2)
        with pytest.raises(kdbench.InvalidData, match=r"(?s)train_labels has shape \(12,\).*one column per label"):
            npz_multilabel(str(single))

    def test_the_finding_is_class_1(self, tmp_path):
        path, arrays = write_set(tmp_path / "breastmnist.npz", of_classes(2), colour=False)
        data = medmnist.read("breastmnist", path)
        assert data.classes[1] == "malignant"
        np.testing.assert_array_equal(data.labels[:12], 1 - arrays["train_labels"][:, 0])  # the file has it as 0
        assert SETS["pneumoniamnist"].classes[1] == "pneumonia"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"val_labels": np.array([[0], [1], [2], [9], [0], [1]])}, r"bloodmnist.npz: val_labels, row 3, is not in"),
            ({"val_images": np.zeros((6, 64, 64, 3), np.uint8)}, r"(?s)bloodmnist.npz: .*val_images \(6, 64, 64, 3\)"),
            ({"test_labels": np.zeros((8, 1))}, "bloodmnist.npz: test_labels holds float64"),
            ({"test_labels": np.zeros((3, 1), np.uint8)}, r"bloodmnist.npz: test_labels has shape \(3,\) for 8 items"),
        ],
    )
    def test_labels_that_cannot_be_are_named_by_array_and_row(self, tmp_path, changes, message):
        path, _ = write_set(tmp_path / "bloodmnist.npz", of_classes(8), **changes)
        with pytest.raises(kdbench.InvalidData, match=message):
            medmnist.read("bloodmnist", path)

    @pytest.mark.parametrize(
        ("lost", "message"),
        [
            (("test_images", "test_labels"), r"bloodmnist.npz lacks test_images, test_labels\n"),
            (("val_images", "val_labels"), r"bloodmnist.npz lacks val_images, val_labels\n"),
            (("train_images", "train_labels"), r"bloodmnist.npz lacks train_images, train_labels\n"),
            (("val_labels",), r"bloodmnist.npz lacks val_labels\n"),
        ],
    )
    def test_a_split_that_the_file_lacks_is_not_drawn_from_another(self, tmp_path, lost, message):
        path, arrays = write_set(tmp_path / "bloodmnist.npz", of_classes(8))
        np.savez(path, **{key: array for key, array in arrays.items() if key not in lost})
        with pytest.raises(kdbench.InvalidData, match=rf"(?s){message}.*its arrays: .*fetch it again"):
            medmnist.read("bloodmnist", path)

    def test_an_archive_of_another_layout_is_not_the_set(self, tmp_path):
        np.savez(tmp_path / "bloodmnist.npz", x=np.zeros((8, 28, 28, 3), np.uint8), y=np.arange(8))
        with pytest.raises(kdbench.InvalidData, match=r"(?s)bloodmnist.npz lacks train_images, .*its arrays: x, y"):
            medmnist.read("bloodmnist", tmp_path / "bloodmnist.npz")

    def test_a_finding_that_is_neither_0_nor_1_is_named(self, tmp_path):
        wrong = of_findings(8)
        wrong[5, 2] = 3
        path, _ = write_set(tmp_path / "chestmnist.npz", of_findings, colour=False, test_labels=wrong)
        with pytest.raises(kdbench.InvalidData, match=r"chestmnist.npz: test_labels, row 5, is not in"):
            medmnist.read("chestmnist", path)

    def test_a_share_of_a_finding_is_refused_and_not_rounded(self, tmp_path):
        shares = of_findings(8).astype(np.float32)
        for name, third in (("whole", shares[3, 1]), ("share", 0.75)):
            shares[3, 1] = third
            path, _ = write_set(tmp_path / f"{name}.npz", of_findings, colour=False, test_labels=shares.copy())
            if name == "whole":
                assert set(np.unique(npz_multilabel(str(path)).labels)) == {0, 1}
            else:
                with pytest.raises(kdbench.InvalidData, match=r"test_labels, row 3, is not in .*\n  it has 0.75"):
                    npz_multilabel(str(path))

    def test_a_split_with_fewer_findings_is_named(self, tmp_path):
        path, _ = write_set(tmp_path / "chestmnist.npz", of_findings, colour=False, val_labels=of_findings(6)[:, 1:])
        for read in (lambda: medmnist.read("chestmnist", path), lambda: npz_multilabel(str(path))):
            with pytest.raises(kdbench.InvalidData, match=r"chestmnist.npz: val_labels has 13 labels an item, not 14"):
                read()

    def test_a_damaged_archive_is_named(self, tmp_path):
        path, _ = write_set(tmp_path / "bloodmnist.npz", of_classes(8))
        content = bytearray(path.read_bytes())
        content[2000:2200] = b"\0" * 200
        path.write_bytes(content)
        with pytest.raises(kdbench.InvalidData, match=r"bloodmnist.npz is not a NumPy archive"):
            medmnist.read("bloodmnist", path)

    def test_it_is_looked_for_where_the_package_keeps_it(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("KDBENCH_DATA", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        with pytest.raises(
            kdbench.DataNotAvailable, match=r"(?s)'octmnist' is not on this machine.*medmnist\.OCTMNIST\(split="
        ):
            medmnist.octmnist()
        write_set(tmp_path / "home" / ".medmnist" / "octmnist.npz", of_classes(4), colour=False)
        assert len(medmnist.octmnist().labels) == 26
        monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "data"))
        write_set(tmp_path / "data" / "medmnist" / "octmnist.npz", of_classes(2), colour=False)
        assert set(medmnist.octmnist().labels.tolist()) == {0, 1}

    def test_every_set_is_the_one_that_the_package_describes(self, catalog):
        facts = json.loads(FACTS.read_text(encoding="utf-8"))
        assert set(facts) == set(SETS)
        for name, fact in facts.items():
            chosen, about = SETS[name], catalog.find("dataset", name).metadata
            classes = (
                chosen.classes[::-1] if name == "breastmnist" else chosen.classes
            )  # malignant is its file's label 0
            assert list(classes) == fact["classes"], name
            assert (chosen.name, list(chosen.counts)) == (fact["name"], fact["items"])
            assert chosen.task == about["task"] == TASKS.get(fact["task"], "multiclass")
            assert chosen.licence == about["licence"] == fact["licence"]
            assert (about["items"], about["classes"]) == (sum(fact["items"]), len(fact["classes"]))

    @pytest.mark.parametrize("name", sorted(SETS))
    def test_a_label_of_a_file_is_the_class_of_that_number(self, tmp_path, name):
        fact = json.loads(FACTS.read_text(encoding="utf-8"))[name]
        several = fact["task"].startswith("multi-label")
        labels = of_findings if several else of_classes(len(fact["classes"]))
        path, arrays = write_set(tmp_path / f"{name}.npz", labels, colour=fact["channels"] == 3)
        data = medmnist.read(name, path)
        assert data.views()["input"].shape[1:] == ((3, 28, 28) if fact["channels"] == 3 else (28, 28))
        read = np.asarray(data.classes)[np.nonzero(data.labels)[1] if several else data.labels]
        stored = np.concatenate([arrays[f"{part}_labels"] for part in COUNTS])
        numbers = np.nonzero(stored)[1] if several else stored[:, 0]
        assert read.tolist() == [fact["classes"][number] for number in numbers]

    def test_the_facts_are_the_packages_own(self):
        if importlib.util.find_spec("medmnist") is None:
            pytest.skip(f"pip install --no-deps medmnist=={FACTS_OF}")
        from medmnist.info import INFO

        keys = {"name": "python_class", "task": "task", "licence": "license", "channels": "n_channels"}
        facts = json.loads(FACTS.read_text(encoding="utf-8"))
        assert set(facts) == {name for name in INFO if "3d" not in name}
        for name, fact in facts.items():
            info = INFO[name]
            assert {key: fact[key] for key in keys} == {key: info[theirs] for key, theirs in keys.items()}
            assert fact["items"] == [info["n_samples"][part] for part in COUNTS]
            assert fact["classes"] == [info["label"][str(number)] for number in range(len(fact["classes"]))]


def table_of_pima(rows=10):
    random = np.random.default_rng(1)
    names = ["pregnant", "glucose", "pressure", "triceps", "insulin", "mass", "pedigree", "age"]
    table = pd.DataFrame({name: random.integers(1, 90, rows).astype(float) for name in names})
    table["diabetes"] = pd.Categorical(["neg", "pos"] * (rows // 2), categories=["neg", "pos"])
    return table


def write_pima(directory, table):
    rdata = pytest.importorskip("rdata")
    path = directory / "usr" / "PimaIndiansDiabetes2.rda"
    path.parent.mkdir(parents=True, exist_ok=True)
    rdata.write_rda(path, {"PimaIndiansDiabetes2": table})
    return directory


class TestTables:
    def test_a_value_that_was_not_measured_is_0_and_marked(self, tmp_path):
        table = table_of_pima()
        table.loc[3, "insulin"] = np.nan
        data = read_pima(write_pima(tmp_path, table))
        values = data.views()["input"]
        assert (values.shape, list(data.classes), data.task) == ((10, 13), ["neg", "pos"], "binary")
        assert values[3, 4] == 0
        assert values[3, 8:].tolist() == [0, 0, 0, 1, 0]
        assert values[:, 8:].sum() == 1
        kept = np.delete(values[:, :8], 3, axis=0)
        np.testing.assert_array_equal(kept, table.drop(index=3).to_numpy()[:, :8].astype(float))
        assert UNKNOWN[3] == "insulin"

    def test_gaps_where_none_are_known_and_missing_columns_are_named(self, tmp_path):
        table = table_of_pima()
        table.loc[2, "age"] = np.nan
        with pytest.raises(kdbench.InvalidData, match=r"row 3, column 'age' is empty"):
            read_pima(write_pima(tmp_path, table))
        with pytest.raises(kdbench.InvalidData, match="no column 'mass'"):
            read_pima(write_pima(tmp_path, table_of_pima().drop(columns="mass")))

    def test_the_real_table_has_768_people_of_whom_268_fell_ill(self, real_data):
        pytest.importorskip("rdata")
        data = real_data("pima")
        values = data.views()["input"]
        assert values.shape == (768, 13)
        assert int(data.labels.sum()) == 268
        assert values[:, 8:].sum(0).tolist() == [5, 35, 227, 374, 11]
        check_dataset(lambda: data)

    def test_malignant_is_the_positive_class_of_wdbc(self):
        data, turned = wdbc(), breast_cancer()
        assert list(data.classes) == ["benign", "malignant"]
        assert int(data.labels.sum()) == 212
        np.testing.assert_array_equal(data.labels, 1 - turned.labels)
        ready = prepare("wdbc", data, fold=None, folds=None)
        parts = [set(part.index.tolist()) for part in (ready.train, ready.validation, ready.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 569
