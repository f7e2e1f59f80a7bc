"""Records of runs: the part that the plan determines, and the whole of one that did not end well."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from kdbench.plan import Run
from kdbench.records import Record, Status


def identity(run: Run) -> dict[str, Any]:
    """The fields of a record that are known before it runs."""
    combo = run.combo
    return {
        "run_id": run.run_id, "combo": run.name, "dataset": combo.dataset, "task": run.task,
        "teacher": combo.teacher, "student": combo.student,
        "student_source": run.student_source, "teacher_view": combo.teacher_view, "student_view": combo.student_view,
        "method": combo.method, "params": run.params, "overrides": run.overrides,
        "recipe": combo.recipe, "recipe_settings": msgspec.to_builtins(run.recipe),
        "recipe_overrides": run.recipe_overrides, "teacher_recipe": run.teacher_recipe_label,
        "seed": run.seed, "fold": run.fold, "folds": run.folds,
        "devices": run.devices, "trial": run.trial, "published": list(run.published),
    }  # fmt: skip


def failure_record(run: Run, status: Status, error: str, started: str) -> Record:
    """The record of a run that did not end well."""
    return Record(**identity(run), status=status, error=error, started=started, finished=now())


def now() -> str:
    """The time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
