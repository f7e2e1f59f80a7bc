"""Folders of pictures with boxes in CSV files, as the German Traffic Sign Recognition Benchmark has them.

`GT-NAME.csv` beside the pictures, separated by semicolons: Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId.
Training pictures lie in a folder for each class and are called TRACK_FRAME.ppm: a track is one sign, filmed while the
car passes it, so its frames are near-copies and stay on one side of every split.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import kdbench
from kdbench_data import places
from kdbench_driving import FIX, LICENCE, fetch_command

COLUMNS = ("Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
SIZE = 32
CLASSES = 43
TRAIN = ("", "Final_Training/Images", "GTSRB/Final_Training/Images", "GTSRB/Training", "Training")
TEST = ("Final_Test/Images", "GTSRB/Final_Test/Images", "Test")
TEST_TABLE = "GT-final_test.csv"
_TRACK = re.compile(r"(\d+)_\d+\.\w+")


@dataclass(frozen=True)
class Sign:
    """One annotated picture. `place` names its row; `box` is left, top, right, bottom, all within the sign."""

    picture: Path
    place: str
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    label: int
    split: str
    track: str


def gtsrb(argument: str | None = None) -> kdbench.Data:
    """`gtsrb`, the benchmark itself, or `gtsrb:DIR[?size=PIXELS]`, any files in its format; Stallkamp et al. (2012).

    The benchmark is (51839, 3, 32, 32) uint8 of 43 classes, with its official test split, and is refused without.
    DIR holds the class folders, or `Final_Training/Images`, `GTSRB/Final_Training/Images` or `GTSRB/Training` with
    them; test pictures lie in `Final_Test/Images`, `GTSRB/Final_Test/Images` or `Test`, and `GT-final_test.csv` there
    or in DIR makes them the official test split; other files are split by track.
    Raises: DataNotAvailable, InvalidData, InvalidParameter.
    """
    if argument is not None:
        path, chosen = places.options(argument, "gtsrb", ("size",))
        return read(places.existing(path, "gtsrb"), places.size_option(chosen, f"gtsrb:{argument}") or SIZE)
    looked = places.candidates("gtsrb")
    root = next((place for place in looked if place.is_dir()), None)
    if root is None:
        raise kdbench.DataNotAvailable(
            "dataset 'gtsrb' is not on this machine", f"looked in {', '.join(map(str, looked))}", FIX
        )
    _check_benchmark(root)
    return read(root, SIZE)


def _check_benchmark(root: Path) -> None:
    """All 43 classes and the official test split: its published figures are of nothing else.

    Raises: DataNotAvailable, naming the archives that are missing; InvalidData for other classes.
    """
    top, folders = _class_folders(root)
    numbers = [_class_number(folder) for folder in folders]
    if sorted(numbers) != list(range(CLASSES)):
        missing = [str(number) for number in range(CLASSES) if number not in numbers]
        strange = [
            folder.name for at, folder in enumerate(folders) if numbers[at] >= CLASSES or numbers[at] in numbers[:at]
        ]
        raise kdbench.InvalidData(
            f"{top} does not hold the {CLASSES} classes of 'gtsrb', 0 to {CLASSES - 1}",
            f"missing: {', '.join(missing) or 'none'}; not of the benchmark: {', '.join(strange) or 'none'}",
            f"signs of your own: gtsrb:{root}; the benchmark: {fetch_command(['Final_Training_Images'], str(root))}",
        )
    there = {"Final_Test_Images": _test_folders(root), "Final_Test_GT": [*filter(Path.is_file, _test_tables(root))]}
    lacking = [part for part, found in there.items() if not found]
    if lacking:
        raise kdbench.DataNotAvailable(
            f"dataset 'gtsrb' lacks its official test split in {root}",
            f"missing: {', '.join(f'GTSRB_{part}.zip' for part in lacking)}; gtsrb:{root} splits the rest by track",
            fetch_command(lacking, str(root)),
        )


def read(root: Path, size: int) -> kdbench.Data:
    """Every sign cut out by its box and scaled to size x size (bilinear); classes are the folders' names, sorted.

    Groups are tracks; a test picture, whose track is not told, is a group of its own.
    Raises: DataNotAvailable, InvalidData naming file and row.
    """
    top, folders = _class_folders(root)
    classes = [folder.name for folder in folders]
    signs = [sign for label, folder in enumerate(folders) for sign in _training_signs(folder, label)]
    test = _test_table(root)
    if test is not None:
        signs += _test_signs(*test, classes)
    return kdbench.Data(
        np.stack([_cut_out(sign, size) for sign in signs]),
        np.array([sign.label for sign in signs]),
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        split=None if test is None else np.array([sign.split for sign in signs]),
        groups=np.array([sign.track for sign in signs]),
        preprocess="image",
        source=str(top),
        licence=LICENCE,
    )


def _class_folders(root: Path) -> tuple[Path, list[Path]]:
    for place in TRAIN:
        top = root / place
        folders = (
            sorted(folder for folder in top.iterdir() if folder.is_dir() and _table_of(folder).is_file())
            if (top.is_dir())
            else []
        )
        if folders:
            return top, folders
    raise kdbench.DataNotAvailable(
        f"{root} holds no traffic signs in GTSRB's format",
        f"looked for CLASS/GT-CLASS.csv in {', '.join(place or '.' for place in TRAIN)}",
        FIX,
    )


def _table_of(folder: Path) -> Path:
    return folder / f"GT-{folder.name}.csv"


def _test_table(root: Path) -> tuple[Path, Path] | None:
    """The table of the test split and the folder of its pictures."""
    folders, tables = _test_folders(root), _test_tables(root)
    if not folders:
        return None
    table = next((one for one in tables if one.is_file()), None)
    if table is None:
        raise kdbench.InvalidData(
            f"the test pictures in {folders[0]} have no classes",
            f"looked for {', '.join(map(str, tables))}",
            "get the benchmark's GTSRB_Final_Test_GT.zip, or remove the folder",
        )
    return table, folders[0]


def _test_folders(root: Path) -> list[Path]:
    return [root / place for place in TEST if (root / place).is_dir()]


def _test_tables(root: Path) -> list[Path]:
    """Where the table may be: with the pictures, or where its own archive was unpacked."""
    return [place / TEST_TABLE for place in (*_test_folders(root)[:1], root, root / "GTSRB")]


def _training_signs(folder: Path, label: int) -> Iterator[Sign]:
    table = _table_of(folder)
    for place, row in _rows(table):
        if _number(place, row, "ClassId") != _class_number(folder):
            raise kdbench.InvalidData(
                f"{place} is of class {row['ClassId']!r}", f"it lies in the folder of class {folder.name!r}"
            )
        track = _TRACK.fullmatch(row["Filename"])
        if track is None:
            raise kdbench.InvalidData(
                f"{place}: {row['Filename']!r} does not tell its track",
                "training pictures are called TRACK_FRAME.ppm, so that frames of one sign stay together",
                "rename it: 00000_00000.ppm",
            )
        yield _sign(folder, place, row, label, "train", f"{folder.name}/{track[1]}")


def _test_signs(table: Path, folder: Path, classes: list[str]) -> Iterator[Sign]:
    numbers = {_class_number(Path(name)): label for label, name in enumerate(classes)}
    rows = list(_rows(table))
    if not rows:
        raise kdbench.InvalidData(f"{table} has no rows", "it is the table of the test split", "fetch it again")
    for place, row in rows:
        number = _number(place, row, "ClassId")
        if number not in numbers:
            raise kdbench.InvalidData(
                f"{place} is of class {number}, which is not in the list",
                f"the training folders are {', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}",
            )
        yield _sign(folder, place, row, numbers[number], "test", f"test/{row['Filename']}")


def _class_number(folder: Path) -> int:
    if not folder.name.isdecimal():
        raise kdbench.InvalidData(f"the class folder {folder} is not called by a number", fix="rename it: 00000")
    return int(folder.name)


def _rows(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row with its place, `FILE, row N`; the heading is row 1."""
    reader = csv.DictReader(io.StringIO(_text(table), newline=""), delimiter=";")
    try:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise kdbench.InvalidData(
                f"{table} has no column {missing[0]!r}",
                f"row 1 has: {', '.join(reader.fieldnames or ()) or 'nothing'}",
                f"the columns are {';'.join(COLUMNS)}",
            )
        rows = [(f"{table}, row {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        number = reader.reader.line_num  # DictReader's own is that of the row before
        raise kdbench.InvalidData(f"{table}, row {number} cannot be read", str(error), "fetch it again") from error
    for place, row in rows:
        if any(row[column] is None for column in COLUMNS):
            raise kdbench.InvalidData(f"{place} is cut off", f"it has fewer than {len(COLUMNS)} values")
        yield place, row


def _text(table: Path) -> str:
    try:
        content = table.read_bytes()
    except OSError as error:
        raise kdbench.InvalidData(f"{table} cannot be read", str(error), "fetch it again") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise kdbench.InvalidData(
            f"{table}, row {number} cannot be read", str(error), "save the table as UTF-8, or fetch it again"
        ) from error


def _sign(folder: Path, place: str, row: dict[str, str], label: int, split: str, track: str) -> Sign:
    width, height, *box = (_number(place, row, column) for column in COLUMNS[1:7])
    return Sign(folder / row["Filename"], place, (width, height), (box[0], box[1], box[2], box[3]), label, split, track)


def _number(place: str, row: dict[str, str], column: str) -> int:
    if not row[column].strip().isdecimal():
        raise kdbench.InvalidData(f"{place}: {column} is {row[column]!r}", "a whole number is needed")
    return int(row[column])


def _cut_out(sign: Sign, size: int) -> np.ndarray:
    """The box as (3, size, size) uint8; its right and bottom edge belong to it."""
    left, top, right, bottom = sign.box
    try:
        with Image.open(sign.picture) as picture:
            if picture.size != sign.size:
                raise kdbench.InvalidData(
                    f"{sign.place} does not belong to {sign.picture}",
                    f"it says {sign.size[0]}x{sign.size[1]} pixels, the picture has {picture.width}x{picture.height}",
                )
            if not (left < right < picture.width and top < bottom < picture.height):
                raise kdbench.InvalidData(
                    f"{sign.place}: the box is outside its picture",
                    f"({left}, {top}) to ({right}, {bottom}) of {picture.width}x{picture.height} pixels",
                )
            # Cut first: resize(box=...) would mix in pixels from outside the box.
            cut = picture.convert("RGB").crop((left, top, right + 1, bottom + 1))
            scaled = cut.resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise kdbench.InvalidData(
            f"{sign.place}: {sign.picture} is not a picture that can be read", str(error), "fetch it again"
        ) from error
    return np.asarray(scaled).transpose(2, 0, 1)
