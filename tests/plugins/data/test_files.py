"""Datasets from a user's own files: directories of pictures, tables, NumPy archives, MNIST's format."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

import kdbench
from kdbench.testing import check_dataset
from kdbench_data.folders import image_folder
from kdbench_data.idx import fashion_mnist, idx_directory, read_idx
from kdbench_data.npz import npz
from kdbench_data.tables import encode_labels, parquet

RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def write_folder(root, arrays: dict[str, np.ndarray]):
    for place, array in arrays.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    return root


class TestImageFolder:
    def test_every_class_is_a_directory_and_pixels_are_the_files_own(self, tmp_path):
        arrays = {f"{name}/{number}.png": pixels(6, 5) for name in ("dog", "cat") for number in range(3)}
        data = image_folder(str(write_folder(tmp_path, arrays)))
        assert list(data.classes) == ["cat", "dog"]
        assert data.task == "binary"
        assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert data.split is None
        expected = [arrays[f"{name}/{number}.png"] for name in ("cat", "dog") for number in range(3)]
        np.testing.assert_array_equal(data.views()["input"], np.stack(expected)[:, None])

    def test_split_directories_become_the_official_split(self, tmp_path):
        arrays = {f"{part}/{name}/a.png": pixels(4, 4, 3) for part in ("train", "val", "test") for name in "xyz"}
        (tmp_path / "train/x").mkdir(parents=True)
        (tmp_path / "train/x/notes.txt").write_text("not a picture")
        data = image_folder(str(write_folder(tmp_path, arrays)))
        assert data.views()["input"].shape == (9, 3, 4, 4)
        assert data.split.tolist() == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3
        assert data.labels.tolist() == [0, 1, 2] * 3
        np.testing.assert_array_equal(data.views()["input"][4], arrays["val/y/a.png"].transpose(2, 0, 1))

    def test_grey_and_colour_together_become_colour(self, tmp_path):
        arrays = {"a/1.png": pixels(4, 4), "b/1.png": pixels(4, 4, 3)}
        images = image_folder(str(write_folder(tmp_path, arrays))).views()["input"]
        np.testing.assert_array_equal(images[0], np.stack([arrays["a/1.png"]] * 3))

    def test_different_sizes_need_a_size(self, tmp_path):
        write_folder(tmp_path, {"a/1.png": pixels(4, 4), "b/1.png": pixels(8, 4)})
        with pytest.raises(kdbench.InvalidData, match=r"(?s)differ in size.*from 4x4 to 4x8.*\?size=32"):
            image_folder(str(tmp_path))
        assert image_folder(f"{tmp_path}?size=6").views()["input"].shape == (2, 1, 6, 6)

    def test_scaling_keeps_the_middle_square(self, tmp_path):
        tall = pixels(24, 8)
        write_folder(tmp_path, {"a/1.png": tall, "b/1.png": tall})
        scaled = np.asarray(Image.fromarray(tall).resize((4, 12), Image.Resampling.BILINEAR))
        image = image_folder(f"{tmp_path}?size=4").views()["input"][1, 0]
        np.testing.assert_array_equal(image, scaled[4:8])

    @pytest.mark.parametrize("size", ["0", "-3", "big", "1e3", "99999"])
    def test_a_size_that_is_none(self, tmp_path, size):
        with pytest.raises(kdbench.InvalidParameter, match="not a number of pixels"):
            image_folder(f"{tmp_path}?size={size}")

    def test_unknown_option(self, tmp_path):
        with pytest.raises(kdbench.InvalidParameter, match=r"(?s)sise=3.*known options: size"):
            image_folder(f"{tmp_path}?sise=3")

    def test_a_damaged_picture_is_named(self, tmp_path):
        write_folder(tmp_path, {"a/1.png": pixels(4, 4), "b/1.png": pixels(4, 4)})
        (tmp_path / "b/1.png").write_bytes(png(pixels(4, 4))[:40])
        with pytest.raises(kdbench.InvalidData, match=r"b/1\.png is not a picture"):
            image_folder(str(tmp_path))

    def test_nothing_there(self, tmp_path):
        with pytest.raises(kdbench.InvalidData, match=r"(?s)has no pictures.*/train/CLASS/\*\.png.*known suffixes"):
            image_folder(str(tmp_path))
        with pytest.raises(kdbench.DataNotAvailable, match="is not on this machine"):
            image_folder(str(tmp_path / "absent"))

    @pytest.mark.parametrize("part", ["train", "val", "test"])
    def test_a_split_whose_pictures_have_no_class_is_not_drawn_from_another(self, tmp_path, part):
        loose = {f"{part}/{number}.JPEG": pixels(4, 4) for number in range(3)}
        classes = {f"{one}/{name}/1.png": pixels(4, 4) for one in {"train", "val", "test"} - {part} for name in "ab"}
        write_folder(tmp_path, loose | classes)
        (tmp_path / part / "notes.txt").write_text("not a picture")
        message = rf"(?s)in class directories of \S+/{part}\n.*directory: 3\n.*move every picture to \S+/{part}/CLASS"
        with pytest.raises(kdbench.InvalidData, match=message):
            image_folder(str(tmp_path))

    def test_a_split_directory_of_empty_classes_is_named(self, tmp_path):
        write_folder(tmp_path, {f"train/{name}/1.png": pixels(4, 4) for name in "ab"})
        (tmp_path / "test/a").mkdir(parents=True)
        with pytest.raises(kdbench.InvalidData, match=r"(?s)no pictures in class directories of \S+/test\n.*: 0\n"):
            image_folder(str(tmp_path))

    def test_pictures_without_any_class_are_counted(self, tmp_path):
        write_folder(tmp_path, {"1.png": pixels(4, 4), "2.png": pixels(4, 4)})
        with pytest.raises(kdbench.InvalidData, match=r"(?s)has no pictures.*without a class directory: 2\n"):
            image_folder(str(tmp_path))

    def test_two_directories_for_one_split(self, tmp_path):
        write_folder(tmp_path, {"val/a/1.png": pixels(4, 4), "validation/a/1.png": pixels(4, 4)})
        with pytest.raises(kdbench.InvalidData, match=r"(?s)two directories for one split.*val, validation"):
            image_folder(str(tmp_path))


class TestParquet:
    def table(self, items: int = 12) -> pd.DataFrame:
        return pd.DataFrame(
            {"a": RANDOM.normal(size=items), "b": np.arange(items), "label": ["no", "yes"] * (items // 2)}
        )

    def test_a_table(self, tmp_path):
        table = self.table()
        table.to_parquet(tmp_path / "t.parquet")
        data = parquet(str(tmp_path / "t.parquet"))
        np.testing.assert_array_equal(data.views()["input"], table[["a", "b"]].to_numpy())
        assert list(data.classes) == ["no", "yes"]
        assert data.labels.tolist() == [0, 1] * 6
        assert data.preprocess == "standardize"

    def test_files_named_by_split(self, tmp_path):
        for part in ("train-00000-of-00002", "train-00001-of-00002", "validation", "test"):
            self.table(4).to_parquet(tmp_path / f"{part}.parquet")
        data = parquet(str(tmp_path))
        assert sorted(data.split.tolist()) == ["test"] * 4 + ["train"] * 8 + ["validation"] * 4

    def test_pictures_as_the_hub_stores_them(self, tmp_path):
        images = pixels(6, 4, 5, 3)
        cells = [{"bytes": png(image), "path": f"{n}.png"} for n, image in enumerate(images)]
        pd.DataFrame({"image": cells, "fine_label": [2, 0, 1] * 2}).to_parquet(tmp_path / "train.parquet")
        data = parquet(str(tmp_path))
        np.testing.assert_array_equal(data.views()["input"], images.transpose(0, 3, 1, 2))
        assert data.labels.tolist() == [2, 0, 1, 2, 0, 1]
        assert data.preprocess == "image"

    def test_pictures_beside_the_table(self, tmp_path):
        write_folder(tmp_path, {"1.png": (image := pixels(4, 4))})
        cells = [{"bytes": None, "path": "1.png"}] * 2
        pd.DataFrame({"image": cells, "label": [0, 1]}).to_parquet(tmp_path / "t.parquet")
        np.testing.assert_array_equal(parquet(str(tmp_path)).views()["input"][1, 0], image)

    def test_named_columns(self, tmp_path):
        self.table().rename(columns={"label": "answer"}).to_parquet(tmp_path / "t.parquet")
        with pytest.raises(kdbench.InvalidData, match=r"(?s)none of the columns label.*a, b, answer.*\?label=COLUMN"):
            parquet(str(tmp_path))
        assert list(parquet(f"{tmp_path}?label=answer").classes) == ["no", "yes"]
        with pytest.raises(kdbench.InvalidData, match="no column 'picture'"):
            parquet(f"{tmp_path}?label=answer&image=picture")

    def test_a_row_is_named_by_its_file_and_its_place_there(self, tmp_path):
        for number in range(3):
            self.table(4).to_parquet(tmp_path / f"{number}.parquet")
        table = self.table(4)
        for column, message in (("label", r" has no label"), ("a", r", column 'a' is nan")):
            wrong = table.copy()
            wrong.loc[2, column] = None
            wrong.to_parquet(tmp_path / "1.parquet")
            with pytest.raises(kdbench.InvalidData, match=rf"/1\.parquet, row 2{message}"):
                parquet(str(tmp_path))

    def test_a_picture_is_named_by_its_file_and_its_row_there(self, tmp_path):
        cell = {"bytes": png(pixels(4, 5, 3)), "path": "1.png"}
        for number, wrong in enumerate((cell, {"bytes": b"no picture", "path": "2.png"}, cell)):
            pd.DataFrame({"image": [cell, cell, wrong], "label": [0, 1, 2]}).to_parquet(tmp_path / f"{number}.parquet")
        with pytest.raises(kdbench.InvalidData, match=r"/1\.parquet, row 2 is not a picture that can be read"):
            parquet(str(tmp_path))
        pd.DataFrame({"image": [cell, None], "label": [0, 1]}).to_parquet(tmp_path / "1.parquet")
        with pytest.raises(kdbench.InvalidData, match=r"/1\.parquet, row 1, column 'image' holds no picture"):
            parquet(str(tmp_path))

    def test_text_is_refused(self, tmp_path):
        table = self.table()
        table["words"] = "hello"
        table.to_parquet(tmp_path / "t.parquet")
        with pytest.raises(kdbench.InvalidData, match="column 'words' is not numeric"):
            parquet(str(tmp_path))

    def test_some_files_with_a_split(self, tmp_path):
        for part in ("train", "more"):
            self.table(4).to_parquet(tmp_path / f"{part}.parquet")
        with pytest.raises(kdbench.InvalidData, match="some of its files name their split"):
            parquet(str(tmp_path))

    def test_damaged_empty_and_absent(self, tmp_path):
        with pytest.raises(kdbench.DataNotAvailable, match=r"holds no \.parquet file"):
            parquet(str(tmp_path))
        (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing else")
        with pytest.raises(kdbench.InvalidData, match=r"t\.parquet is damaged"):
            parquet(str(tmp_path))
        self.table().iloc[:0].to_parquet(tmp_path / "t.parquet")
        with pytest.raises(kdbench.InvalidData, match="has no rows"):
            parquet(str(tmp_path))

    @pytest.mark.parametrize(
        ("values", "message"), [([0.5, 1.0], "its labels are float64"), (["a", None], "item 1 has no label")]
    )
    def test_labels_that_are_none(self, values, message):
        with pytest.raises(kdbench.InvalidData, match=message):
            encode_labels("t", pd.Series(values))

    def test_integers_keep_their_order(self):
        assert encode_labels("t", [10, 9, 2])[1] == ["2", "9", "10"]


class TestNpz:
    def medmnist(self, **changes: np.ndarray) -> dict[str, np.ndarray]:
        arrays = {}
        for part, items in (("train", 6), ("val", 3), ("test", 3)):
            arrays[f"{part}_images"] = pixels(items, 28, 28, 3)
            arrays[f"{part}_labels"] = (np.arange(items) % 3).astype(np.uint8)[:, None]
        return arrays | changes

    def test_medmnist(self, tmp_path):
        arrays = self.medmnist()
        np.savez_compressed(tmp_path / "m.npz", **arrays)
        data = npz(str(tmp_path / "m.npz"))
        assert data.views()["input"].shape == (12, 3, 28, 28)
        np.testing.assert_array_equal(data.views()["input"][6], arrays["val_images"][0].transpose(2, 0, 1))
        assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
        assert data.split.tolist() == ["train"] * 6 + ["validation"] * 3 + ["test"] * 3

    def test_x_and_y(self, tmp_path):
        x = RANDOM.normal(size=(5, 3))
        np.savez(tmp_path / "t.npz", x=x, y=np.array(["b", "a", "b", "a", "a"]))
        data = npz(str(tmp_path / "t.npz"))
        np.testing.assert_array_equal(data.views()["input"], x)
        assert (list(data.classes), data.labels.tolist()) == (["a", "b"], [1, 0, 1, 0, 0])
        assert data.preprocess == "standardize"

    def test_many_labels_an_item(self, tmp_path):
        np.savez(tmp_path / "m.npz", **self.medmnist(train_labels=np.zeros((6, 14), dtype=np.uint8)))
        with pytest.raises(kdbench.InvalidData, match=r"m.npz: train_labels has shape \(6, 14\) for 6 items"):
            npz(str(tmp_path / "m.npz"))

    def test_what_is_missing_is_named_by_file_array_and_row(self, tmp_path):
        arrays = self.medmnist(val_labels=np.array([1.0, np.nan, 2.0]))
        np.savez(tmp_path / "m.npz", **arrays)
        with pytest.raises(kdbench.InvalidData, match=r"m.npz': val_labels, row 1 has no label"):
            npz(str(tmp_path / "m.npz"))
        del arrays["val_labels"]
        np.savez(tmp_path / "m.npz", **arrays)
        with pytest.raises(kdbench.InvalidData, match=r"(?s)m.npz has no array 'val_labels'.*its arrays: test_images"):
            npz(str(tmp_path / "m.npz"))

    def test_objects_are_never_unpickled(self, tmp_path):
        np.savez(tmp_path / "o.npz", x=np.array([{"a": 1}], dtype=object), y=np.zeros(1))
        with pytest.raises(kdbench.InvalidData, match=r"(?s)not a NumPy archive that can be read.*allow_pickle=False"):
            npz(str(tmp_path / "o.npz"))

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"hello"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "d.npz").write_bytes(content)
        with pytest.raises(kdbench.InvalidData, match="not a NumPy archive"):
            npz(str(tmp_path / "d.npz"))

    def test_a_single_array_is_no_archive(self, tmp_path):
        with (tmp_path / "a.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(kdbench.InvalidData, match="not a NumPy archive"):
            npz(str(tmp_path / "a.npz"))

    def test_other_arrays(self, tmp_path):
        np.savez(tmp_path / "z.npz", z=np.zeros(3))
        with pytest.raises(kdbench.InvalidData, match=r"(?s)z.npz has neither 'train_images' nor 'x'.*its arrays: z"):
            npz(str(tmp_path / "z.npz"))


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


class TestIdx:
    @pytest.fixture
    def directory(self, tmp_path):
        """Twelve and six pictures under MNIST's names, half of them compressed."""
        for prefix, items, pack in (("train", 12, bytes), ("t10k", 6, gzip.compress)):
            suffix = "" if pack is bytes else ".gz"
            images, labels = pixels(items, 5, 4), (np.arange(items) % 3).astype(np.uint8)
            (tmp_path / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
            (tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))
        return tmp_path

    def test_four_files(self, directory):
        data = idx_directory(str(directory))
        assert data.views()["input"].shape == (18, 5, 4)
        assert data.split.tolist() == ["train"] * 12 + ["test"] * 6
        assert list(data.classes) == ["0", "1", "2"]

    def test_a_known_name_where_the_environment_says(self, directory, monkeypatch):
        home = directory / "fashion-mnist"
        home.mkdir()
        for file in list(directory.glob("*ubyte*")):
            file.rename(home / file.name)
        for root in (directory, home):
            monkeypatch.setenv("KDBENCH_DATA", str(root))
            assert fashion_mnist().source == str(home)
        monkeypatch.setenv("KDBENCH_DATA", str(directory / "elsewhere"))
        monkeypatch.setattr("kdbench_data.places.SYSTEM", directory / "nowhere")
        monkeypatch.chdir(directory)
        with pytest.raises(
            kdbench.DataNotAvailable, match=r"(?s)looked in .*elsewhere/fashion-mnist.*kdbench data fetch fashion-mnist"
        ):
            fashion_mnist()

    def test_one_missing(self, directory):
        (directory / "train-labels-idx1-ubyte").unlink()
        with pytest.raises(kdbench.DataNotAvailable, match="lacks one of train-images"):
            idx_directory(str(directory))

    def test_labels_of_another_file(self, directory):
        (directory / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, dtype=np.uint8)))
        with pytest.raises(kdbench.InvalidData, match=r"(?s)do not belong together.*12 images, 5 labels"):
            idx_directory(str(directory))

    @given(npst.arrays(np.uint8, npst.array_shapes(min_dims=3, max_dims=3, max_side=5)), st.booleans(), st.data())
    def test_any_array_survives_and_any_cut_is_noticed(self, tmp_path_factory, array, compress, data):
        path = tmp_path_factory.mktemp("idx") / "file"
        content = gzip.compress(idx(array)) if compress else idx(array)
        path.write_bytes(content)
        np.testing.assert_array_equal(read_idx(path, 3), array)
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(kdbench.InvalidData, match="is damaged"):
            read_idx(path, 3)


@pytest.mark.parametrize("name", ["digits", "wine", "breast-cancer", "mfeat", "orl-faces"])
def test_the_data_that_comes_with_kdbench(catalog, name):
    entry = catalog.find("dataset", name)
    check_dataset(entry.load())
    data = entry.load()()
    assert len(data.labels) == entry.metadata["items"]
    assert len(data.classes) == entry.metadata["classes"]
