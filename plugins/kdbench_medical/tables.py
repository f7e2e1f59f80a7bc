"""Medical tables: breast tumours and diabetes, the finding as the positive class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import kdbench
from kdbench_data.bundled import breast_cancer
from kdbench_tabular import MLBENCH

PIMA = "PimaIndiansDiabetes2"
UNKNOWN = ("glucose", "pressure", "triceps", "insulin", "mass")
"""Columns with values that were not measured."""


def wdbc() -> kdbench.Data:
    """Breast tumours from 30 features, (569, 30), with malignant as class 1; Wolberg, Street and Mangasarian (1993).

    The items of `breast-cancer`, whose class 1 is benign.
    """
    data = breast_cancer()
    labels = np.asarray(data.labels)
    return kdbench.Data(
        data.inputs, 1 - labels, tuple(data.classes)[::-1], task="binary", source=data.source, licence=data.licence
    )


def pima() -> kdbench.Data:
    """Diabetes within five years, (768, 13), positive as class 1: see `read_pima`. Smith et al. (1988).

    Raises: DataNotAvailable, InvalidData.
    """
    return read_pima(kdbench.source_path(MLBENCH))


def read_pima(directory: Path) -> kdbench.Data:
    """The eight measurements, and for five of them whether it was taken, from mlbench's PimaIndiansDiabetes2.

    A value that was not measured (652 of them; NA in this table, 0 in the original one) is 0, and the column that
    follows the eight says 1: nothing is filled in from other items, so nothing passes from one split into another.
    Raises: DataNotAvailable; InvalidData for a damaged file, a missing column or an unexpected gap.
    """
    from kdbench_tabular.mlbench import features_and_labels, read_table

    table = read_table(directory, PIMA)
    absent = [name for name in UNKNOWN if name not in table.columns]
    if absent:
        raise kdbench.InvalidData(
            f"table {PIMA!r} has no column {absent[0]!r}", f"its columns: {', '.join(map(str, table.columns))}"
        )
    unknown = table[list(UNKNOWN)].isna()
    known = table.fillna(dict.fromkeys(UNKNOWN, 0.0))
    values, labels, classes = features_and_labels(known, "diabetes", PIMA, ("neg", "pos"))
    return kdbench.Data(
        np.concatenate([values, unknown.to_numpy(dtype=np.float64)], axis=1),
        labels,
        classes,
        task="binary",
        source="Pima Indians Diabetes (UCI), as in mlbench 2.1-3",
        licence=MLBENCH.licence,
    )
