"""`parquet:PATH`: a table, or pictures as the Hugging Face hub stores them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import kdbench
from kdbench_data import INSTALL_HUB, memory, pictures, places
from kdbench_data.decoding import Opened, stamps
from kdbench_data.folders import SPLITS
from kdbench_data.rows import locator

OPTIONS = ("label", "image", "size")
LABELS = ("label", "labels", "fine_label", "target", "class", "y")

Where = Callable[[int], str]
"""What to call a row of the whole table: the file that it came from, and its row there, from 0."""


def parquet(argument: str) -> kdbench.Data:
    """`parquet:PATH[?label=COLUMN&image=COLUMN&size=PIXELS]`: a file, or a directory of them.

    Files whose names begin with train, validation, val or test make the official split. The label column is `label`
    unless it is named (or another usual name); labels are class indices or names. A column of pictures (bytes, or
    structs with `bytes` or `path`) makes an image dataset; otherwise every other column must be numeric.
    Raises: DataNotAvailable; InvalidParameter; InvalidData, naming the file and its row, from 0.
    """
    path, chosen = places.options(argument, "parquet", OPTIONS)
    name = f"parquet:{argument}"
    size = places.size_option(chosen, name)
    root = places.existing(path, "parquet")
    table, split, where = _read(name, root)
    label = _label_column(name, table, chosen.get("label"))
    labels, classes = encode_labels(name, table[label], where)
    image = chosen.get("image") or next(
        (column for column in table if column != label and _picture_bytes(table[column].iloc[0], root) is not None),
        None,
    )
    if image is not None and image not in table:
        raise kdbench.InvalidData(f"dataset {name!r} has no column {image!r}", fix=_columns(table))
    if image is not None:
        opened = _opened(name, table[image], root, where)
        inputs = pictures.stack(name, opened, size, lambda: [image, _stamps(name, table[image], root)])
    else:
        inputs = _numbers(name, table.drop(columns=label), where)
    return kdbench.Data(
        inputs,
        labels,
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        split=split,
        preprocess="standardize" if image is None else "image",
        source=path,
    )


def encode_labels(name: str, values: Any, where: Where = "item {}".format) -> tuple[np.ndarray, list[str]]:
    """Class indices and class names of a column of integers, booleans or strings. Raises: InvalidData."""
    column = pd.Series(values)
    if column.isna().any():
        raise kdbench.InvalidData(
            f"dataset {name!r}: {where(int(np.flatnonzero(column.isna())[0]))} has no label",
            fix="drop items without one",
        )
    if pd.api.types.is_float_dtype(column):
        raise kdbench.InvalidData(
            f"dataset {name!r}: its labels are {column.dtype}", "a class is an integer or a name", "name another column"
        )
    codes, classes = pd.factorize(column, sort=True)
    return codes.astype(np.int64), [str(one) for one in classes]


def _files(name: str, root: Path) -> list[Path]:
    files = sorted(root.glob("**/*.parquet")) if root.is_dir() else [root]
    if not files:
        raise kdbench.DataNotAvailable(
            f"dataset {name!r} is not on this machine", f"{root} holds no .parquet file", "check the path"
        )
    return files


def _read(name: str, root: Path) -> tuple[pd.DataFrame, np.ndarray | None, Where]:
    files = _files(name, root)
    stored, room = sum(file.stat().st_size for file in files), memory.available_bytes()
    if room is not None and stored > room:
        raise kdbench.InvalidData(
            f"dataset {name!r} does not fit into memory",
            f"its files take {stored / 1e9:,.1f} GB, and tables are read whole; {room / 1e9:,.1f} GB are free",
            f"pictures: 'hf:{root}' reads them one by one; or a directory with fewer files",
        )
    frames, splits = [], []
    for file in files:
        try:
            frames.append(pd.read_parquet(file))
        except ImportError as error:
            raise kdbench.DataNotAvailable(
                f"dataset {name!r} cannot be read", "parquet needs pyarrow", INSTALL_HUB
            ) from error
        except (OSError, ValueError) as error:
            raise kdbench.InvalidData(f"{file} is damaged", str(error).splitlines()[0], "fetch it again") from error
        if list(frames[-1].columns) != list(frames[0].columns):
            raise kdbench.InvalidData(f"dataset {name!r}: {file} and {files[0]} differ in their columns")
        stem = file.name.removesuffix(".parquet").split("-")[0].split("_")[0].split(".")[0]
        splits += [SPLITS.get(stem, "")] * len(frames[-1])
    table = pd.concat(frames, ignore_index=True)
    if not len(table):
        raise kdbench.InvalidData(f"dataset {name!r} has no rows")
    locate, official = locator([len(frame) for frame in frames]), np.array(splits)

    def where(row: int) -> str:
        part, row_there = locate(row)
        return f"{files[part]}, row {row_there}"

    if len(files) == 1 or not official.astype(bool).any():
        return table, None, where
    if not official.astype(bool).all():
        raise kdbench.InvalidData(
            f"dataset {name!r}: some of its files name their split and some do not",
            ", ".join(file.name for file in files[:5]),
            "let every file begin with train, validation or test, or none",
        )
    return table, official, where


def _label_column(name: str, table: pd.DataFrame, chosen: str | None) -> str:
    column = chosen or next((one for one in LABELS if one in table), None)
    if column is None or column not in table:
        wanted = f"no column {chosen!r}" if chosen else f"none of the columns {', '.join(LABELS)}"
        raise kdbench.InvalidData(f"dataset {name!r} has {wanted}", _columns(table), "name one: ?label=COLUMN")
    return column


def _columns(table: pd.DataFrame) -> str:
    return f"its columns: {', '.join(map(str, table.columns))}"


def _picture_bytes(cell: Any, root: Path) -> bytes | Path | None:
    """The encoded picture of a cell or the path of its file; None where it holds something else."""
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, dict) and {"bytes", "path"} & cell.keys():
        if isinstance(cell.get("bytes"), bytes):
            return cell["bytes"]
        return (root if root.is_dir() else root.parent) / str(cell["path"])
    return None


def _opened(name: str, column: pd.Series, root: Path, where: Where) -> list[Opened]:
    opened = []
    for row, cell in enumerate(column):
        picture = _picture_bytes(cell, root)
        if picture is None:
            raise kdbench.InvalidData(
                f"dataset {name!r}: {where(row)}, column {column.name!r} holds no picture",
                f"it is {type(cell).__name__}",
                "bytes of a picture file, or a struct of bytes and path",
            )
        file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        opened.append((where(row), partial(Image.open, file)))
    return opened


def _stamps(name: str, column: pd.Series, root: Path) -> str:
    """Of the table's files, and of those that it names."""
    named = (_picture_bytes(cell, root) for cell in column)
    return stamps([*_files(name, root), *(file for file in named if isinstance(file, Path))])


def _numbers(name: str, table: pd.DataFrame, where: Where) -> np.ndarray:
    if table.shape[1] == 0:
        raise kdbench.InvalidData(f"dataset {name!r} has no column beside its label")
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise kdbench.InvalidData(
                f"dataset {name!r}: column {str(column)!r} is not numeric",
                f"it is {table[column].dtype}",
                "encode it as numbers, or drop it",
            )
    numbers = table.to_numpy(dtype=np.float64)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        row, column = wrong[0]
        raise kdbench.InvalidData(
            f"dataset {name!r}: {where(row)}, column {str(table.columns[column])!r} is {numbers[row, column]}",
            "a finite number is needed",
            "impute it or drop the row",
        )
    return numbers
