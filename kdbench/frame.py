"""Records as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.records import Summary

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = (
    "run_id", "combo", "dataset", "task", "teacher", "student", "student_source", "teacher_view", "student_view",
    "method", "recipe", "teacher_recipe", "seed", "fold", "folds", "devices", "trial", "status", "error",
    "selected_epoch", "started", "finished",
)  # fmt: skip
_AS_JSON = ("params", "overrides", "recipe_settings", "recipe_overrides")
_PROVENANCE = (
    "kdbench", "git_commit", "device", "cpu", "threads", "workers", "platform", "python", "deterministic",
    "kernel_backend", "dataset_fingerprint", "teacher_fingerprint", "command",
)  # fmt: skip
_COST = (
    "parameters", "nonzero_parameters", "teacher_parameters", "flops", "bytes", "peak_memory_bytes", "steps",
    "teacher_forward_samples",
)  # fmt: skip
_SPEED = ("train_samples_per_s", "latency_ms_p50", "latency_ms_p95")


def to_frame(records: Iterable[Summary]) -> pd.DataFrame:
    """One row per run.

    Columns: the record's plain fields by their names; `params`, `overrides`, `recipe_settings` and `recipe_overrides`
    as JSON text, and `param_NAME` for each parameter that is a plain value; `metric_NAME` (test), `val_metric_NAME`,
    `teacher_metric_NAME`; `train_samples_per_s`, `inference_samples_per_s_BATCH`, `latency_ms_p50`, `latency_ms_p95`;
    the costs by their names and `seconds_PHASE`; the provenance by its names and `library_NAME`.
    """
    import pandas as pd

    rows = [_row(record) for record in records]
    first = [*_PLAIN, *_AS_JSON]
    last = [*_SPEED, *_COST, *_PROVENANCE]
    varying = sorted({column for row in rows for column in row} - {*first, *last})
    return pd.DataFrame(rows, columns=[*first, *varying, *last])


def _row(record: Summary) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in _PLAIN}
    for name in _AS_JSON:
        row[name] = msgspec.json.encode(getattr(record, name), order="sorted").decode()
    scalars = {name: value for name, value in record.params.items() if isinstance(value, int | float | str | None)}
    for prefix, values in (
        ("param_", scalars),
        ("metric_", record.metrics),
        ("val_metric_", record.val_metrics),
        ("teacher_metric_", record.teacher_metrics),
        ("inference_samples_per_s_", record.throughput.inference_samples_per_s),
        ("seconds_", record.cost.seconds),
        ("library_", record.provenance.libraries),
    ):
        row |= {prefix + name: value for name, value in values.items()}
    for source, names in ((record.throughput, _SPEED), (record.cost, _COST), (record.provenance, _PROVENANCE)):
        row |= {name: getattr(source, name) for name in names}
    return row
