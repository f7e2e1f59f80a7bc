"""`npz:FILE`: NumPy archives, MedMNIST's among them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import kdbench
from kdbench_data import places
from kdbench_data.folders import SPLITS
from kdbench_data.rows import locator
from kdbench_data.tables import encode_labels


def npz(argument: str) -> kdbench.Data:
    """`npz:FILE`: arrays `train_images`, `train_labels`, and `val_`, `test_` ones (MedMNIST), or `x` and `y`.

    Images are (N, H, W) or (N, H, W, 3), as MedMNIST has them, and uint8; other arrays are taken as tables. Labels are
    (N,) or (N, 1); several columns are for `npz-multilabel:FILE`.
    Raises: DataNotAvailable, InvalidData.
    """
    return read_npz(places.existing(argument, "npz"))


def npz_multilabel(argument: str) -> kdbench.Data:
    """`npz-multilabel:FILE`: the same arrays with labels (N, C), 1 where an item has the label, else 0.

    Raises: DataNotAvailable, InvalidData.
    """
    return read_npz(places.existing(argument, "npz-multilabel"), multilabel=True)


def read_npz(
    path: Path, *, classes: Sequence[str] | None = None, multilabel: bool = False, needed: Sequence[str] = ()
) -> kdbench.Data:
    """The dataset of a file.

    Args:
        path: the file.
        classes: what its labels are the indices of; told by the labels themselves where it is not given.
        multilabel: labels are (N, C) of 0 and 1.
        needed: splits (`train`, `val`, `test`) that the file has to hold, images and labels.

    Raises: InvalidData, naming the file, the array and the row, from 0.
    """
    try:
        with np.lib.npyio.NpzFile(path, allow_pickle=False) as archive:
            arrays = dict(archive.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise kdbench.InvalidData(f"{path} is not a NumPy archive that can be read", str(error)) from error
    missing = [key for part in needed for key in (f"{part}_images", f"{part}_labels") if key not in arrays]
    if missing:
        raise kdbench.InvalidData(
            f"{path} lacks {', '.join(missing)}",
            f"{_named(arrays)}; a split that is missing is not drawn from the others",
            "remove the file and fetch it again",
        )
    parts = {part: split for part, split in SPLITS.items() if f"{part}_images" in arrays}
    if parts:
        inputs = [arrays[f"{part}_images"] for part in parts]
        keys = [f"{part}_labels" for part in parts]
        if len({array.shape[1:] for array in inputs}) > 1:
            shapes = [f"{part}_images {array.shape}" for part, array in zip(parts, inputs, strict=True)]
            raise kdbench.InvalidData(f"{path}: the images of its splits differ in shape", ", ".join(shapes))
        values, split = np.concatenate(inputs), np.repeat(list(parts.values()), list(map(len, inputs)))
    elif "x" in arrays:
        inputs, keys, values, split = [arrays["x"]], ["y"], arrays["x"], None
    else:
        raise kdbench.InvalidData(
            f"{path} has neither 'train_images' nor 'x'",
            _named(arrays),
            "save with numpy.savez(FILE, x=inputs, y=labels)",
        )
    labels = [
        (_columns if multilabel else _labels)(path, arrays, key, len(array))
        for key, array in zip(keys, inputs, strict=True)
    ]
    if multilabel or classes is not None:
        limit = 2 if multilabel or classes is None else len(classes)
        kinds = "biuf" if classes is None else "biu"
        for key, part in zip(keys, labels, strict=True):
            _check_listed(path, key, part, limit, kinds)
    indices, names = _encoded(path, keys, labels, classes, multilabel)
    image = values.dtype == np.uint8 and values.ndim in {3, 4}
    if image and values.ndim == 4:
        values = values.transpose(0, 3, 1, 2)
    return kdbench.Data(
        values,
        indices,
        names,
        task="multilabel" if multilabel else "binary" if len(names) == 2 else "multiclass",
        split=split,
        preprocess="image" if image else "standardize",
        source=str(path),
    )


def _encoded(
    path: Path, keys: Sequence[str], labels: Sequence[np.ndarray], classes: Sequence[str] | None, multilabel: bool
) -> tuple[np.ndarray, list[str]]:
    if classes is None and not multilabel:
        locate = locator([len(part) for part in labels])

        def where(row: int) -> str:
            part, row_there = locate(row)
            return f"{keys[part]}, row {row_there}"

        return encode_labels(f"npz:{path}", np.concatenate(labels), where)
    names = list(classes) if classes is not None else [str(number) for number in range(labels[0].shape[1])]
    for key, part in zip(keys, labels, strict=True):
        if multilabel and part.shape[1] != len(names):
            raise kdbench.InvalidData(f"{path}: {key} has {part.shape[1]} labels an item, not {len(names)}")
    return np.concatenate(labels).astype(np.int64), names


def _check_listed(path: Path, key: str, labels: np.ndarray, limit: int, kinds: str) -> None:
    """Whole numbers in [0, limit), of a dtype of one of these kinds."""
    if labels.dtype.kind not in kinds:
        raise kdbench.InvalidData(f"{path}: {key} holds {labels.dtype}", "labels are integers")
    outside = np.argwhere(~np.isin(labels, np.arange(limit)))
    if len(outside):
        raise kdbench.InvalidData(
            f"{path}: {key}, row {outside[0][0]}, is not in the list of classes",
            f"it has {labels[tuple(outside[0])]}; labels go from 0 to {limit - 1}",
        )


def _named(arrays: dict[str, np.ndarray]) -> str:
    return f"its arrays: {', '.join(sorted(arrays)) or 'none'}"


def _array(path: Path, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise kdbench.InvalidData(f"{path} has no array {key!r}", _named(arrays))
    return arrays[key]


def _labels(path: Path, arrays: dict[str, np.ndarray], key: str, items: int) -> np.ndarray:
    labels = _array(path, arrays, key)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (items,):
        several = labels.ndim == 2 and len(labels) == items
        raise kdbench.InvalidData(
            f"{path}: {key} has shape {labels.shape} for {items} items",
            "one class per item is needed",
            f"for several labels an item: npz-multilabel:{path}" if several else "",
        )
    return labels


def _columns(path: Path, arrays: dict[str, np.ndarray], key: str, items: int) -> np.ndarray:
    labels = _array(path, arrays, key)
    if labels.ndim != 2 or len(labels) != items:
        raise kdbench.InvalidData(
            f"{path}: {key} has shape {labels.shape} for {items} items", "one column per label is needed"
        )
    return labels
