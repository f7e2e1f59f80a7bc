"""Leaderboards as a Parquet file, for data frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec

from kdbench.errors import UsageError
from kdbench.report.export import BOARD_COLUMNS, METRIC_PREFIX, ROW_COLUMNS, csv_cell
from kdbench.report.leaderboard import Leaderboard


def check_parquet() -> None:
    """Raise UsageError where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError("the format parquet needs pyarrow", fix="pip install 'kdbench[hub]'")


def render_parquet(boards: Sequence[Leaderboard]) -> bytes:
    """The lines and columns of the CSV, typed: text, numbers and truths, null where nothing is known.

    Raises: UsageError where pyarrow is not installed.
    """
    check_parquet()
    import pandas as pd

    metrics = sorted({name for board in boards for row in board.rows for name in row.metrics})
    lines = [
        {name: _plain(getattr(board, name)) for name in BOARD_COLUMNS}
        | {name: _plain(getattr(row, name)) for name in ROW_COLUMNS}
        | {METRIC_PREFIX + name: row.metrics.get(name) for name in metrics}
        for board in boards
        for row in board.rows
    ]
    names = [*BOARD_COLUMNS, *ROW_COLUMNS, *(METRIC_PREFIX + name for name in metrics)]
    output = io.BytesIO()
    pd.DataFrame(lines, columns=names).convert_dtypes().to_parquet(output, index=False, engine="pyarrow")
    return output.getvalue()


def _plain(value: object) -> object:
    return csv_cell(value) if isinstance(value, dict) else value
