"""Which runs belong to one leaderboard, and which to one of its rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec

from kdbench.records import Summary

Place = tuple[int, int]
"""Seed and fold; the fold is -1 without cross-validation."""


def group(records: list[Summary]) -> dict[tuple[Any, ...], dict[str, list[Summary]]]:
    """The records of each board, by what identifies it and by the fingerprint of its data."""
    groups: dict[tuple[Any, ...], dict[str, list[Summary]]] = defaultdict(lambda: defaultdict(list))
    for r in records:
        views = (r.teacher_view or "", r.student_view or "")
        identity = (r.dataset, r.teacher, r.student, *views, r.teacher_recipe or "", r.folds or 0, r.devices)
        groups[identity][r.provenance.dataset_fingerprint].append(r)
    for by_data in groups.values():
        if "" in by_data and len(by_data) > 1:  # failed before the data was read: most likely the current data
            unknown = by_data.pop("")
            latest = max(by_data, key=lambda name: max(r.finished for r in by_data[name]))
            by_data[latest].extend(unknown)
    return groups


@dataclass(frozen=True)
class RowRuns:
    """The runs of one row: one per seed and fold."""

    first: Summary
    by_seed: dict[Place, Summary]
    values: dict[Place, float]
    """The metric of the runs that ended well."""

    @property
    def key(self) -> bytes:
        """What the row is known by."""
        return row_key(self.first)

    @property
    def recipe_key(self) -> bytes:
        """What the recipe of the row is known by."""
        return _recipe_key(self.first)


def members_of_boards(records: list[Summary]) -> list[list[Summary]]:
    """The runs of each board, in the order of `leaderboards`."""
    groups = group(records)
    return [members for identity in sorted(groups) for _, members in sorted(groups[identity].items())]


def paired_values(runs: RowRuns, other: RowRuns | None) -> list[tuple[float, float]]:
    """The metric of both rows at the seeds and folds that both have; empty for a row and itself."""
    if other is None or other is runs:
        return []
    return [(runs.values[place], other.values[place]) for place in sorted(runs.values.keys() & other.values.keys())]


def _recipe_key(record: Summary) -> bytes:
    return msgspec.json.encode([record.recipe, record.recipe_settings, record.recipe_overrides], order="sorted")


def row_key(record: Summary) -> bytes:
    """What a row is known by: its method with all parameters, and its recipe with all settings."""
    return msgspec.json.encode([record.method, record.params, record.overrides], order="sorted") + _recipe_key(record)


def rows_of(records: list[Summary], metric: str) -> tuple[list[RowRuns], int]:
    """The runs of each row, and how many runs were left out because another has the same seed and fold."""
    grouped: dict[bytes, dict[Place, Summary]] = defaultdict(dict)
    repeated = 0
    for record in records:
        runs, place = grouped[row_key(record)], (record.seed, -1 if record.fold is None else record.fold)
        if place in runs:
            repeated += 1
            record = max(runs[place], record, key=lambda r: (r.status == "ok", r.finished, r.run_id))
        runs[place] = record
    rows = []
    for runs in grouped.values():
        ordered = dict(sorted(runs.items()))
        values = {
            place: value
            for place, record in ordered.items()
            if record.status == "ok" and (value := record.metrics.get(metric)) is not None
        }
        rows.append(RowRuns(next(iter(ordered.values())), ordered, values))
    return rows, repeated
