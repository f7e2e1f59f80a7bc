"""Parts of Fashion-MNIST and CIFAR-100, Tiny-ImageNet and ImageNet, on small files in their own formats."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest
from PIL import Image

import kdbench
from kdbench.engine.datasets import prepare
from kdbench_data import hub, memory, tables
from kdbench_images import imagenets, papers, subsets

RANDOM = np.random.default_rng(1)
WNIDS = ("n02", "n01", "n03")


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def save(path, array: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    """Fashion-MNIST's files with 6,100 and 40 pictures of 4x4, where kdbench looks for them."""
    root = tmp_path_factory.mktemp("data")
    (root / "fashion-mnist").mkdir()
    for prefix, items in (("train", 6100), ("t10k", 40)):
        images, labels = pixels(items, 4, 4), (np.arange(items) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (root / "fashion-mnist" / f"{prefix}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return root


@pytest.fixture
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("factory", "sizes"),
    [
        (subsets.fashion_mnist_6k, {"train": 600, "test": 4}),
        (subsets.fashion_mnist_1k, {"train": 100, "validation": 100, "test": 4}),
    ],
)
def test_a_part_has_as_many_items_of_each_class_and_the_whole_test_split(fashion, monkeypatch, factory, sizes):
    from kdbench_data.idx import fashion_mnist

    monkeypatch.setenv("KDBENCH_DATA", str(fashion))
    whole, data = fashion_mnist(), factory()
    for split, of_each in sizes.items():
        assert np.bincount(data.labels[data.split == split]).tolist() == [of_each] * 10
    assert set(data.split.tolist()) == set(sizes)
    test = whole.split == "test"
    np.testing.assert_array_equal(data.views()["input"][data.split == "test"], whole.views()["input"][test])
    official = {picture.tobytes() for picture in whole.views()["input"][~test]}
    assert all(picture.tobytes() in official for picture in data.views()["input"][data.split != "test"])
    again = factory()
    np.testing.assert_array_equal(again.views()["input"], data.views()["input"])


def test_no_test_item_of_a_part_is_trained_on(fashion, monkeypatch):
    monkeypatch.setenv("KDBENCH_DATA", str(fashion))
    data = subsets.fashion_mnist_1k()
    raw = data.views()["input"]
    raw[np.flatnonzero(data.split == "test")[0]] = raw[np.flatnonzero(data.split == "train")[0]]
    data.labels[np.flatnonzero(data.split == "test")[0]] = data.labels[np.flatnonzero(data.split == "train")[0]]
    ready = prepare("part", data, fold=None, folds=None)
    seen = {raw[item].tobytes() for part in (ready.train, ready.validation) for item in part.index.tolist()}
    assert len(ready.test.index) == 40
    assert not seen & {raw[item].tobytes() for item in ready.test.index.tolist()}
    assert len(ready.train.index) == 999


def test_a_class_with_too_few_items_is_named():
    data = kdbench.Data(
        pixels(6, 2, 2), np.array([0, 0, 0, 0, 1, 1]), ["a", "b"], split=np.array(["train"] * 5 + ["test"])
    )
    with pytest.raises(kdbench.InvalidData, match=r"(?s)class 'b' has 1 training items.*2 are to be drawn"):
        subsets.drawn(data, {"train": 2})


def test_cifar_as_in_the_papers_keeps_all_but_five_training_items_of_each_class(monkeypatch):
    labels, split = np.arange(36) % 3, np.array(["train"] * 30 + ["test"] * 6)
    whole = kdbench.Data(pixels(36, 3, 4, 4), labels, list("abc"), split=split, preprocess="image")
    monkeypatch.setattr(hub, "cifar100", lambda: whole)
    data = papers.cifar100()
    assert np.bincount(data.labels[data.split == "validation"]).tolist() == [5, 5, 5]
    np.testing.assert_array_equal(data.split[30:], ["test"] * 6)
    assert (data.split[:30] == "train").sum() == 15
    assert whole.split.tolist() == ["train"] * 30 + ["test"] * 6


def tiny(root) -> dict[str, np.ndarray]:
    """Tiny-ImageNet's archive with three classes, two training pictures of each and four to validate."""
    directory = root / "tiny-imagenet"
    directory.mkdir()
    (directory / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (directory / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn03\tbullfrog\nn99\tother\n")
    arrays = {}
    for wnid in WNIDS:
        for number in range(2):
            arrays[f"{wnid}{number}"] = save(directory / f"train/{wnid}/images/{wnid}_{number}.png", pixels(5, 5, 3))
        (directory / f"train/{wnid}/{wnid}_boxes.txt").write_text("no picture")
    lines = []
    for number, wnid in enumerate(("n03", "n01", "n02", "n03")):
        arrays[f"val{number}"] = save(directory / f"val/images/val_{number}.png", pixels(5, 5, 3))
        lines.append(f"val_{number}.png\t{wnid}\t0\t0\t4\t4")
    (directory / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    save(directory / "test/images/test_0.png", pixels(5, 5, 3))
    return arrays


def test_tiny_imagenet_as_its_archive_unpacks(here):
    arrays = tiny(here)
    data = imagenets.tiny_imagenet()
    assert list(data.classes) == ["n01 goldfish", "n02", "n03 bullfrog"]
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 2, 0, 1, 2]
    assert data.split.tolist() == ["train"] * 6 + ["test"] * 4
    order = ["n010", "n011", "n020", "n021", "n030", "n031", "val0", "val1", "val2", "val3"]
    np.testing.assert_array_equal(data.views()["input"], np.stack([arrays[n] for n in order]).transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("val_1.png\tn98\t0\t0\t4\t4", "its second column is 'n98'"),
        ("val_1.png", "its second column is ''"),
        ("val_9.png\tn01\t0\t0\t4\t4", "there is no .*val_9.png"),
    ],
)
def test_a_line_of_tiny_imagenets_annotations_that_is_wrong_is_named(here, line, said):
    tiny(here)
    path = here / "tiny-imagenet/val/val_annotations.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:]]))
    with pytest.raises(kdbench.InvalidData, match=rf"(?s)val_annotations.txt, line 2 cannot be used.*{said}"):
        imagenets.tiny_imagenet()


def test_a_class_of_tiny_imagenet_without_pictures_is_named(here):
    tiny(here)
    for file in (here / "tiny-imagenet/train/n02/images").iterdir():
        file.unlink()
    with pytest.raises(kdbench.InvalidData, match=r"class 'n02' of wnids\.txt has no training pictures"):
        imagenets.tiny_imagenet()


def test_a_picture_of_tiny_imagenet_that_does_not_decode_is_named(here):
    tiny(here)
    (here / "tiny-imagenet/train/n02/images/n02_1.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(kdbench.InvalidData, match=r"n02_1.png is not a picture that can be read"):
        imagenets.tiny_imagenet()


class TestFromTheHub:
    """In the hub's own columns and splits, as parquet on disk in the place of the hub's name."""

    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch, tmp_path):
        datasets = pytest.importorskip("datasets")
        monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "none"))
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def publish(self, monkeypatch, root, labels: dict[str, list[int]]) -> dict[str, str]:
        import datasets

        parts = datasets.DatasetDict()
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
        for split, values in labels.items():
            rows = {"image": [Image.fromarray(pixels(9, 7, 3)) for _ in values], "label": values}
            parts[split] = datasets.Dataset.from_dict(rows, features=features)
        parts.save_to_disk(root / "hub")
        asked: dict[str, str] = {}

        def load(name, config):
            asked["name"] = name
            return datasets.load_from_disk(root / "hub")

        monkeypatch.setattr(datasets, "load_dataset", load)
        return asked

    def test_tiny_imagenets_valid_split_is_the_test(self, monkeypatch, tmp_path):
        asked = self.publish(monkeypatch, tmp_path, {"train": [0, 1, 0], "valid": [1, 0]})
        data = imagenets.tiny_imagenet()
        assert asked["name"] == "zh-plus/tiny-imagenet"
        assert data.split.tolist() == ["train"] * 3 + ["test"] * 2

    def test_imagenets_validation_is_the_test_and_its_unlabelled_test_is_left_out(self, monkeypatch, tmp_path):
        asked = self.publish(monkeypatch, tmp_path, {"train": [0, 1], "validation": [1], "test": [-1, -1]})
        monkeypatch.setattr(memory, "available_bytes", lambda: 100e9)
        data = imagenets.imagenet_64()
        assert asked["name"] == "ILSVRC/imagenet-1k"
        assert data.split.tolist() == ["train", "train", "test"]
        assert data.views()["input"].shape == (3, 3, 64, 64)

    def test_imagenet_that_fits_nowhere_is_refused_before_anything_is_fetched(self, monkeypatch, tmp_path):
        asked = self.publish(monkeypatch, tmp_path, {"train": [0, 1], "validation": [1]})
        monkeypatch.setattr(memory, "available_bytes", lambda: 64e9)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10 * 10**9))
        with pytest.raises(
            kdbench.DataNotAvailable,
            match=r"(?s)'imagenet-1k' is not on.*takes 200\.4 GB.*has 10\.0 GB free.*set KDBENCH",
        ):
            imagenets.imagenet()
        with pytest.raises(kdbench.DataNotAvailable, match=r"(?s)'imagenet-64' is not on.*takes 16\.4 GB"):
            imagenets.imagenet_64()
        assert asked == {}

    def test_imagenet_that_fits_onto_the_disk_is_prepared_there(self, monkeypatch, tmp_path):
        self.publish(monkeypatch, tmp_path, {"train": [0, 1, 0], "validation": [1, 0]})
        monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "kdbench"))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12))
        monkeypatch.setattr(memory, "available_bytes", lambda: 10**12)
        whole = imagenets.imagenet_64()
        monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
        for _ in range(2):
            data = imagenets.imagenet_64()
            assert isinstance(data.views()["input"], np.memmap)
            np.testing.assert_array_equal(data.views()["input"], whole.views()["input"])
            assert data.split.tolist() == whole.split.tolist()
        assert len(list((tmp_path / "kdbench/prepared").iterdir())) == 1


def imagenet_1k(root, *parts: str):
    """Directories of splits with two classes and three pictures each."""
    for part in parts:
        for number, name in enumerate("aab"):
            save(root / "imagenet-1k" / part / name / f"{number}.png", pixels(70 + number, 80, 3))
    return root / "imagenet-1k"


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_imagenet_from_a_directory(here, validation):
    imagenet_1k(here, "train", validation)
    data = imagenets.imagenet_64()
    assert data.views()["input"].shape == (6, 3, 64, 64)
    assert data.split.tolist() == ["train"] * 3 + ["test"] * 3
    assert data.labels.tolist() == [0, 0, 1] * 2


def test_imagenets_unlabelled_test_pictures_are_left_out(here):
    save(imagenet_1k(here, "train", "val") / "test/1.JPEG", pixels(70, 80, 3))
    assert imagenets.imagenet_64().split.tolist() == ["train"] * 3 + ["test"] * 3


@pytest.mark.parametrize(("there", "missing"), [("train", "val"), ("val", "train"), ("validation", "train")])
def test_imagenet_without_one_of_its_splits_is_refused(here, there, missing):
    imagenet_1k(here, there)
    message = rf"(?s)'imagenet-64' has no \S+/imagenet-1k/{missing}\n.*unpack its pictures to \S+/{missing}/CLASS"
    with pytest.raises(kdbench.InvalidData, match=message):
        imagenets.imagenet_64()


def test_imagenets_validation_pictures_as_their_archive_unpacks_are_refused(here):
    for number in range(4):
        save(imagenet_1k(here, "train") / f"val/ILSVRC2012_val_{number:08}.JPEG", pixels(70, 80, 3))
    with pytest.raises(kdbench.InvalidData, match=r"(?s)'imagenet-64' has no pictures .*imagenet-1k/val\n.*: 4\n"):
        imagenets.imagenet_64()


def test_tables_that_do_not_fit_are_refused_unread(monkeypatch, tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"not even a table")
    monkeypatch.setattr(memory, "available_bytes", lambda: 15)
    with pytest.raises(kdbench.InvalidData, match=r"(?s)does not fit into memory.*hf:"):
        tables.parquet(str(tmp_path / "train.parquet"))


def test_the_memory_of_this_machine_is_known_on_linux():
    room = memory.available_bytes()
    assert room is None or 1e6 < room < 1e14
