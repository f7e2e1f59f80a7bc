"""MedMNIST v2: twelve sets of medical pictures, 28x28, from the files of the package `medmnist`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np

import kdbench
from kdbench_data.npz import read_npz
from kdbench_medical.sets import POSITIVE_FIRST, SETS, fetch_command


def candidates(name: str) -> list[Path]:
    """Files that may hold the set, in the order of search.

    $KDBENCH_DATA/medmnist/NAME.npz and $KDBENCH_DATA/NAME.npz, ./data/medmnist/NAME.npz, and the package's own
    directory, ~/.medmnist.
    """
    file, root = f"{name}.npz", os.environ.get("KDBENCH_DATA")
    own = [Path(root).expanduser() / "medmnist" / file, Path(root).expanduser() / file] if root else []
    return [*own, Path("data") / "medmnist" / file, Path.home() / ".medmnist" / file]


def medmnist(name: str) -> kdbench.Data:
    """A set by its name, (N, 28, 28) or (N, 3, 28, 28) uint8, official splits; Yang et al. (2023).

    Raises: DataNotAvailable; InvalidData for a file that is damaged or lacks a split, or a label that is not in the
    set's list.
    """
    looked = candidates(name)
    path = next((place for place in looked if place.is_file()), None)
    if path is None:
        raise kdbench.DataNotAvailable(
            f"dataset {name!r} is not on this machine",
            f"looked in {', '.join(map(str, looked))}",
            fetch_command(name),
        )
    return read(name, path)


def read(name: str, path: Path) -> kdbench.Data:
    """A set from its file, whose labels are in the set's order. Raises: InvalidData."""
    chosen = SETS[name]
    turned = name in POSITIVE_FIRST
    in_file = chosen.classes[::-1] if turned else chosen.classes
    data = read_npz(path, classes=in_file, multilabel=chosen.task == "multilabel", needed=("train", "val", "test"))
    labels = np.asarray(data.labels)
    return kdbench.Data(
        data.inputs,
        1 - labels if turned else labels,
        chosen.classes,
        task=chosen.task,
        split=data.split,
        preprocess="image",
        source=f"MedMNIST v2, {chosen.name}",
        licence=chosen.licence,
    )


def __getattr__(attribute: str) -> partial[kdbench.Data]:
    """A factory for each set: `kdbench_medical.medmnist:pathmnist`."""
    if attribute in SETS:
        return partial(medmnist, attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
