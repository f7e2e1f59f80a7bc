"""`npz:FILE`: NumPy archives, MedMNIST's among them."""

from __future__ import annotations

import zipfile

import numpy as np

import kdbench
from kdbench_data import places
from kdbench_data.folders import SPLITS
from kdbench_data.tables import encode_labels


def npz(argument: str) -> kdbench.Data:
    """`npz:FILE`: arrays `train_images`, `train_labels`, and `val_`, `test_` ones (MedMNIST), or `x` and `y`.

    Images are (N, H, W) or (N, H, W, 3), as MedMNIST has them, and uint8; other arrays are taken as tables. Labels are
    (N,) or (N, 1); one column per label (multi-label) is refused.
    Raises: DataNotAvailable, InvalidData.
    """
    name = f"npz:{argument}"
    path = places.existing(argument, "npz")
    try:
        with np.lib.npyio.NpzFile(path, allow_pickle=False) as archive:
            arrays = dict(archive.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise kdbench.InvalidData(f"{path} is not a NumPy archive that can be read", str(error)) from error
    parts = {part: split for part, split in SPLITS.items() if f"{part}_images" in arrays}
    if parts:
        inputs = [arrays[f"{part}_images"] for part in parts]
        labels = [
            _labels(name, arrays, f"{part}_labels", len(array)) for part, array in zip(parts, inputs, strict=True)
        ]
        if len({array.shape[1:] for array in inputs}) > 1:
            raise kdbench.InvalidData(f"dataset {name!r}: the images of its splits differ in shape")
        values, split = np.concatenate(inputs), np.repeat(list(parts.values()), list(map(len, inputs)))
    elif "x" in arrays:
        values, split = arrays["x"], None
        labels = [_labels(name, arrays, "y", len(values))]
    else:
        raise kdbench.InvalidData(
            f"dataset {name!r} has neither 'train_images' nor 'x'",
            f"its arrays: {', '.join(sorted(arrays)) or 'none'}",
            "save with numpy.savez(FILE, x=inputs, y=labels)",
        )
    indices, classes = encode_labels(name, np.concatenate(labels))
    image = values.dtype == np.uint8 and values.ndim in {3, 4}
    if image and values.ndim == 4:
        values = values.transpose(0, 3, 1, 2)
    return kdbench.Data(
        values,
        indices,
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        split=split,
        preprocess="image" if image else "standardize",
        source=argument,
    )


def _labels(name: str, arrays: dict[str, np.ndarray], key: str, items: int) -> np.ndarray:
    if key not in arrays:
        raise kdbench.InvalidData(f"dataset {name!r} has no array {key!r}", f"its arrays: {', '.join(sorted(arrays))}")
    labels = arrays[key]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (items,):
        raise kdbench.InvalidData(
            f"dataset {name!r}: {key} has shape {labels.shape} for {items} items", "one class per item is needed"
        )
    return labels
