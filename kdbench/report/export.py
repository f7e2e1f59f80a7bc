"""Leaderboards for programs: CSV with one line per row, and JSON with everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.report.across import across
from kdbench.report.cells import one_line
from kdbench.report.leaderboard import Leaderboard

if TYPE_CHECKING:
    from kdbench.plan import NotRun

SCHEMA = 1
BOARD_COLUMNS = (
    "dataset", "dataset_fingerprint", "task", "teacher", "student", "teacher_view", "student_view", "teacher_recipe",
    "folds", "devices", "metric", "higher_is_better", "baseline", "teacher_mean", "teacher_parameters",
)  # fmt: skip
ROW_COLUMNS = (
    "label", "method", "overrides", "recipe", "recipe_overrides", "rank", "n", "total", "failed", "diverged",
    "timeout", "error", "mean", "half_width", "std", "difference_from", "difference_same_given", "difference",
    "difference_half_width", "pairs", "better", "worse",
    "p_value", "p_holm", "effect_size", "kd_difference", "kd_difference_half_width", "gap_recovered", "published",
    "published_difference", "published_source", "published_protocol", "published_teacher", "student_source",
    "parameters", "nonzero_parameters", "bytes", "inference_samples_per_s", "latency_ms_p50", "train_samples_per_s",
    "train_seconds", "step_time", "train_memory",
)  # fmt: skip
METRIC_PREFIX = "metric_"
_FORMULA = ("=", "+", "-", "@")


def render_csv(boards: Sequence[Leaderboard]) -> str:
    """One line per row of each board: `BOARD_COLUMNS`, `ROW_COLUMNS`, and `metric_NAME` for the mean of each metric.

    What is not known is empty; `overrides` are JSON; truths are `true` and `false`. Text that a spreadsheet would run
    as a formula begins with an apostrophe (OWASP, "CSV Injection"), and is kept on one line.
    """
    metrics = sorted({name for board in boards for row in board.rows for name in row.metrics})
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([*BOARD_COLUMNS, *ROW_COLUMNS, *(METRIC_PREFIX + name for name in metrics)])
    for board in boards:
        head = [csv_cell(getattr(board, name)) for name in BOARD_COLUMNS]
        for row in board.rows:
            own = [csv_cell(getattr(row, name)) for name in ROW_COLUMNS]
            writer.writerow([*head, *own, *(csv_cell(row.metrics.get(name)) for name in metrics)])
    return output.getvalue()


def render_json(boards: Sequence[Leaderboard], not_run: Sequence[NotRun] = ()) -> str:
    """`{"schema": 1, "leaderboards": [...], "across": ..., "not_run": [...]}`.

    The fields are those of Leaderboard, Row, Across and NotRun.
    """
    content = {"schema": SCHEMA, "leaderboards": boards, "across": across(boards), "not_run": not_run}
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def csv_cell(value: Any) -> Any:
    """A value as a CSV cell: truths and JSON as text, and no text that a spreadsheet would run."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return msgspec.json.encode(value, order="sorted").decode()
        case str():
            text = one_line(value)
            return "'" + text if text.startswith(_FORMULA) else text
    return value
