"""Traffic signs from folders in the German benchmark's format, written small here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kdbench
from kdbench.engine.datasets import prepare
from kdbench.testing import check_dataset
from kdbench_driving import FIX
from kdbench_driving.signs import COLUMNS, gtsrb

HEADING = ";".join(COLUMNS)
FRAMES = 4


def picture(path: Path, seed: int, width: int, height: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def write_benchmark(root: Path, *, classes=3, tracks=6, test=5) -> Path:
    """Class folders under `Final_Training/Images`, test pictures under `Final_Test/Images`, as the archives unpack."""
    seed = 0
    for label in range(classes):
        folder = root / f"GTSRB/Final_Training/Images/{label:05}"
        rows = [HEADING]
        for track in range(tracks):
            for frame in range(FRAMES):
                width, height = 15 + frame, 14 + frame
                name = f"{track:05}_{frame:05}.ppm"
                picture(folder / name, seed := seed + 1, width, height)
                rows.append(f"{name};{width};{height};2;3;{width - 3};{height - 3};{label}")
        (folder / f"GT-{folder.name}.csv").write_text("\n".join(rows) + "\n")
    rows = [HEADING]
    for number in range(test):
        picture(root / f"GTSRB/Final_Test/Images/{number:05}.ppm", seed := seed + 1, 20, 20)
        rows.append(f"{number:05}.ppm;20;20;0;0;19;19;{number % classes}")
    if test:
        (root / "GT-final_test.csv").write_text("\n".join(rows) + "\n")
    return root


def edit(table: Path, old: str, new: str) -> None:
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))


@pytest.fixture
def signs(tmp_path):
    return write_benchmark(tmp_path / "gtsrb")


def train_table(root: Path, name: str = "00000") -> Path:
    return root / f"GTSRB/Final_Training/Images/{name}/GT-{name}.csv"


def test_signs_are_cut_out_by_their_boxes_edges_included(signs):
    data = gtsrb(f"{signs}?size=10")
    with Image.open(signs / "GTSRB/Final_Training/Images/00000/00000_00000.ppm") as whole:
        pixels = np.asarray(whole)
    assert pixels.shape == (14, 15, 3)
    cut = Image.fromarray(pixels[3:12, 2:13]).resize((10, 10), Image.Resampling.BILINEAR)  # rows 3-11, columns 2-12
    np.testing.assert_array_equal(data.views()["input"][0], np.asarray(cut).transpose(2, 0, 1))
    assert data.views()["input"].shape == (3 * 6 * FRAMES + 5, 3, 10, 10)
    assert gtsrb(str(signs)).views()["input"].shape[1:] == (3, 32, 32)


def test_classes_are_the_folders_and_the_test_table_is_the_official_split(signs):
    data = gtsrb(str(signs))
    assert list(data.classes) == ["00000", "00001", "00002"]
    assert data.labels[:-5].tolist() == np.repeat([0, 1, 2], 6 * FRAMES).tolist()
    assert data.labels[-5:].tolist() == [0, 1, 2, 0, 1]
    assert data.split.tolist() == ["train"] * 72 + ["test"] * 5
    check_dataset(lambda: gtsrb(str(signs)))


def test_frames_of_one_sign_never_cross_the_splits(tmp_path):
    data = gtsrb(str(write_benchmark(tmp_path, tracks=10, test=0)))
    assert data.split is None
    track = np.arange(len(data.labels)) // FRAMES
    assert len(np.unique(data.groups)) == len(np.unique(track)) == 30
    for fold in (None, 0, 1):
        ready = prepare("gtsrb", data, fold=fold, folds=None if fold is None else 3)
        parts = [set(track[split.index.numpy()]) for split in (ready.train, ready.validation, ready.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 30
        assert all(parts)


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """All 43 classes with one track each, where the plain name is looked for."""
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    return write_benchmark(tmp_path / "gtsrb", classes=43, tracks=1, test=45)


def test_the_benchmark_is_looked_for_where_data_is_kept(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = gtsrb()
    assert (len(data.classes), data.split.tolist()) == (43, ["train"] * 43 * FRAMES + ["test"] * 45)
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(kdbench.DataNotAvailable, match=r"(?s)'gtsrb' is not on this machine.*elsewhere/gtsrb.*curl"):
        gtsrb()


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        (["GT-final_test.csv"], ["Final_Test_GT"]),
        (["GTSRB/Final_Test"], ["Final_Test_Images"]),
        (["GTSRB/Final_Test", "GT-final_test.csv"], ["Final_Test_Images", "Final_Test_GT"]),
    ],
)
def test_the_benchmark_without_its_test_split_is_refused(whole, lost, named):
    for place in lost:
        (whole / place).rename(whole / f"away-{Path(place).name}")
    archives, parts = ", ".join(f"GTSRB_{part}.zip" for part in named), " ".join(named)
    message = rf"(?s)official test split.*missing: {archives};.*for part in {parts}; do curl.* -d {whole} \|\| break"
    with pytest.raises(kdbench.DataNotAvailable, match=message):
        gtsrb()
    if "GTSRB/Final_Test" in lost:
        assert gtsrb(str(whole)).split is None


@pytest.mark.parametrize(
    ("label", "message"), [(7, "missing: 7; not of the benchmark: none"), (43, "missing: none; not")]
)
def test_the_benchmark_has_its_43_classes(whole, label, message):
    folder = whole / "GTSRB/Final_Training/Images" / f"{label:05}"
    if folder.is_dir():
        folder.rename(whole / "away")
    else:
        picture(folder / "00000_00000.ppm", 0, 15, 14)
        train_table(whole, folder.name).write_text(f"{HEADING}\n00000_00000.ppm;15;14;2;3;12;11;{label}\n")
    with pytest.raises(kdbench.InvalidData, match=rf"(?s)does not hold the 43 classes.*{message}.*gtsrb:{whole}"):
        gtsrb()


def test_a_test_table_without_rows_is_no_test_split(signs):
    (signs / "GT-final_test.csv").write_text(HEADING + "\n")
    with pytest.raises(kdbench.InvalidData, match=r"GT-final_test.csv has no rows"):
        gtsrb(str(signs))


def test_the_command_stops_at_an_archive_that_does_not_come(tmp_path):
    (tmp_path / "bin").mkdir()
    for name, script in (("curl", 'echo "$2" >>asked; case $2 in *Test_Images*) exit 22;; esac'), ("unzip", "")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", FIX], cwd=tmp_path, env=os.environ | {"PATH": path}, check=False)
    asked = [line.rpartition("GTSRB_")[2] for line in (tmp_path / "asked").read_text().splitlines()]
    assert asked == ["Final_Training_Images.zip", "Final_Test_Images.zip"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Roi.X2;", "", r"GT-00000.csv has no column 'Roi.X2'\s+row 1 has: Filename;?.*ClassId"),
        ("15;14;2;3;12;11;0", "15;14;2;3;15;11;0", r"csv, row 2: the box is outside its picture\s+\(2, 3\) to"),
        ("15;14;2;3;12;11;0", "15;14;5;3;5;11;0", r"row 2: the box is outside"),
        ("15;14;2;3;12;11;0", "99;14;2;3;12;11;0", r"row 2 does not belong to .*00000_00000.ppm\s+it says 99x14"),
        ("15;14;2;3;12;11;0", "15;14;2;3;12;11;7", r"row 2 is of class '7'\s+it lies in the folder of class '00000'"),
        ("15;14;2;3;12;11;0", "15;14;2;-3;12;11;0", r"row 2: Roi.Y1 is '-3'\s+a whole number is needed"),
        ("15;14;2;3;12;11;0", "15;14;2;3", r"row 2 is cut off"),
        ("00000_00000.ppm", "first.ppm", r"row 2: 'first.ppm' does not tell its track"),
        ("00001_00002.ppm", "00001_00009.ppm", r"row 8: .*00001_00009.ppm is not a picture that can be read"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_and_row(signs, old, new, message):
    edit(train_table(signs), old, new)
    with pytest.raises(kdbench.InvalidData, match=f"(?s){message}"):
        gtsrb(str(signs))


def test_a_test_class_that_is_not_in_the_list_is_named(signs):
    edit(signs / "GT-final_test.csv", "00001.ppm;20;20;0;0;19;19;1", "00001.ppm;20;20;0;0;19;19;3")
    with pytest.raises(kdbench.InvalidData, match=r"(?s)final_test.csv, row 3 is of class 3, which is not in the list"):
        gtsrb(str(signs))


def test_a_picture_that_does_not_decode_is_named(signs):
    damaged = signs / "GTSRB/Final_Training/Images/00001/00002_00001.ppm"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(kdbench.InvalidData, match=r"(?s)GT-00001.csv, row 11: .*00002_00001.ppm is not a picture"):
        gtsrb(str(signs))


def test_a_table_in_another_encoding_is_named(signs):
    table = train_table(signs)
    table.write_bytes(table.read_bytes() + "\xe4.ppm".encode("latin-1"))
    with pytest.raises(kdbench.InvalidData, match=r"(?s)GT-00000.csv, row 26 cannot be read.*utf-8"):
        gtsrb(str(signs))


def test_a_row_that_is_no_csv_is_named(signs):
    edit(train_table(signs), "00000_00001.ppm", "9" * 200_000)
    with pytest.raises(kdbench.InvalidData, match=r"(?s)GT-00000.csv, row 3 cannot be read.*field larger"):
        gtsrb(str(signs))


def test_test_pictures_without_their_table_are_refused(signs):
    (signs / "GT-final_test.csv").unlink()
    with pytest.raises(kdbench.InvalidData, match=r"(?s)have no classes.*GTSRB_Final_Test_GT.zip"):
        gtsrb(str(signs))


def test_a_folder_of_something_else_is_not_the_benchmark(tmp_path):
    with pytest.raises(kdbench.DataNotAvailable, match=r"(?s)no traffic signs in GTSRB's format.*GT-CLASS.csv"):
        gtsrb(str(tmp_path))
