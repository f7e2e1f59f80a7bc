"""The one reader of mlbench's tables: R data files of the Debian package r-cran-mlbench."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import kdbench

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame, Series


def read_table(directory: Path, name: str) -> DataFrame:
    """The data frame `name` of the file NAME.rda, somewhere below `directory`, with R's column names and factors.

    Raises: DataNotAvailable where there is no such file; InvalidData where it is damaged, or holds no such table.
    """
    import rdata

    path = next(iter(sorted(directory.rglob(f"{name}.rda"))), None)
    if path is None:
        raise kdbench.DataNotAvailable(
            f"table {name!r} of mlbench is not here",
            f"no file {name}.rda below {directory}",
            "apt-get download r-cran-mlbench && dpkg-deb -x r-cran-mlbench_*.deb DIR",
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Unknown encoding")  # an old file's text, which is ASCII
            found = rdata.read_rda(path)
    except Exception as error:  # the parser raises whatever the bytes lead it to
        raise kdbench.InvalidData(
            f"{path} cannot be read", f"no R data file, or damaged: {type(error).__name__}: {error}", "fetch it again"
        ) from error
    table: DataFrame | None = found.get(name)
    if table is None or not hasattr(table, "columns"):
        raise kdbench.InvalidData(f"{path} holds no table {name!r}", f"it holds: {', '.join(found) or 'nothing'}")
    return table


def features_and_labels(
    table: DataFrame, label: str, name: str, classes: tuple[str, ...] = ()
) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
    """Every column but `label` as numbers (N, D), labels as indices (N,), classes in the order of R's levels.

    Args:
        classes: where given, the levels that the factor must have, in their order.

    Raises: InvalidData, naming column and row (from 1), for a missing column, text, an empty cell or another class.
    """
    if label not in table.columns:
        raise kdbench.InvalidData(
            f"table {name!r} has no column {label!r}", f"its columns: {', '.join(map(str, table.columns))}"
        )
    factor = table[label].astype("category")
    levels = classes or tuple(str(level) for level in factor.cat.categories)
    labels = np.array([levels.index(text) if text in levels else -1 for text in factor.astype("object")], np.int64)
    if (labels < 0).any():
        row = int((labels < 0).argmax())
        raise kdbench.InvalidData(
            f"table {name!r}, row {row + 1}, column {label!r}: {factor.iloc[row]!r} is no class",
            f"the classes: {', '.join(levels)}",
        )
    columns = [_numbers(table[column], name) for column in table.columns if column != label]
    return np.stack(columns, axis=1), labels, levels


def _numbers(column: Series, name: str) -> NDArray[np.float64]:
    try:
        values = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise kdbench.InvalidData(f"table {name!r}, column {column.name!r} is not of numbers", str(error)) from error
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise kdbench.InvalidData(f"table {name!r}, row {row + 1}, column {column.name!r} is empty or not finite")
    return values
