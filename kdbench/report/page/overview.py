"""What the page holds of all runs: boards, rows, and one column per number. The page aggregates them by itself."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.records import Summary
from kdbench.report.cells import headline
from kdbench.report.grouping import RowRuns, members_of_boards, rows_of
from kdbench.report.labels import row_labels
from kdbench.report.leaderboard import COST_REFERENCE, Leaderboard
from kdbench.report.page.packing import Interned, column
from kdbench.report.rows import BATCH
from kdbench.report.statistics import CONFIDENCE, t_quantile

if TYPE_CHECKING:
    from kdbench.catalog import Catalog

EXACT = 5_000
"""Up to so many runs, metrics are kept as they are; of more, to 7 digits."""
_DIGITS, _SPEED_DIGITS = 7, 4
_COSTS = ("parameters", "nonzero_parameters", "bytes", "flops", "peak_memory_bytes")
_MOST_METHODS = 100


def method_families(catalog: Catalog) -> dict[str, str]:
    """The family of each method that plugins registered, by its name."""
    return {entry.name: str(entry.metadata.get("family") or "") for entry in catalog.entries("method")}


@dataclass
class Overview:
    """The content for the page, and the runs of each row in its order."""

    content: dict[str, Any]
    run_ids: list[list[str]] = field(default_factory=list)
    baselines: list[dict[str, str]] = field(default_factory=list)
    """For each row the baseline's run at the same seed and fold, by run id."""


def overview(
    summaries: Sequence[Summary],
    boards: Sequence[Leaderboard],
    *,
    families: Mapping[str, str],
    lower_is_better: Collection[str],
) -> Overview:
    """All runs as columns.

    Args:
        summaries: those that `boards` were made from.
        boards: `leaderboards(summaries)`, whose metric is shown first.
        families: of methods by name.
        lower_is_better: metrics of plugins for which a smaller value is better.
    """
    records = [summary for summary in summaries if not summary.trial]
    members = members_of_boards(records)
    found = Overview({})
    table = _Runs(len(records))
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for place, (board, runs_of_board) in enumerate(zip(boards, members, strict=True)):
        by_row, _ = rows_of(runs_of_board, board.metric)
        labels = row_labels([row.first for row in by_row])
        kept.append(_board(board, [r for row in by_row for r in row.by_seed.values()]))
        at = {id(row): len(rows) + number for number, row in enumerate(by_row)}
        references = {
            row.recipe_key: row for row in by_row if row.first.method == COST_REFERENCE and not row.first.overrides
        }
        by_label = dict(zip(labels, by_row, strict=True))
        compared = {row.label: by_label.get(row.difference_from or "") for row in board.rows}
        for label, row in zip(labels, by_row, strict=True):
            base, reference = compared[label], references.get(row.recipe_key)
            table.add(row, len(rows))
            rows.append(_row(row, label, place, families) | {"base": at.get(id(base)), "ref": at.get(id(reference))})
            found.run_ids.append([r.run_id for r in row.by_seed.values()])
            others = base.by_seed if base is not None else {}
            found.baselines.append({r.run_id: others[p].run_id for p, r in row.by_seed.items() if p in others})
    names = sorted({name for r in records for name in r.metrics})
    found.content = {
        "metric": boards[0].metric if boards else "accuracy",
        "baseline": boards[0].baseline if boards else "scratch",
        "reference": COST_REFERENCE,
        "metrics": {name: _metric(name, lower_is_better) for name in names},
        "t": [t_quantile(df, CONFIDENCE) for df in range(1, max(2, max(map(len, found.run_ids), default=2)))],
        "q": _rank_quantiles(rows, len(boards)),
        "boards": kept,
        "rows": rows,
        "runs": table.columns(names),
    }
    return found


class _Runs:
    """Columns over all runs."""

    def __init__(self, number: int) -> None:
        self._digits = _DIGITS if number > EXACT else None
        self._runs: list[tuple[int, Summary]] = []

    def add(self, row: RowRuns, place: int) -> None:
        self._runs += [(place, record) for record in row.by_seed.values()]

    def columns(self, metrics: Sequence[str]) -> dict[str, Any]:
        records = [record for _, record in self._runs]
        errors, commands, provenances = Interned(), Interned(), Interned()
        costs = {name: [getattr(r.cost, name) for r in records] for name in _COSTS} | {
            "inference_samples_per_s": [r.throughput.inference_samples_per_s.get(BATCH) for r in records],
            "latency_ms_p50": [r.throughput.latency_ms_p50 for r in records],
            "train_samples_per_s": [r.throughput.train_samples_per_s for r in records],
            "train_seconds": [r.cost.seconds.get("train") for r in records],
        }
        return {
            "id": [r.run_id for r in records],
            "row": [place for place, _ in self._runs],
            "seed": [r.seed for r in records],
            "fold": [r.fold for r in records],
            "status": [r.status for r in records],
            "combo": (combos := Interned(), [combos.place(r.combo) for r in records])[1],
            "combos": combos.values,
            "error": [None if r.error is None else errors.place(r.error) for r in records],
            "errors": errors.values,
            "started": [_seconds(r.started) for r in records],
            "finished": [_seconds(r.finished) for r in records],
            "command": [commands.place(_without_seed(r)) for r in records],
            "commands": commands.values,
            "provenance": [provenances.place(_provenance(r)) for r in records],
            "provenances": provenances.values,
            "metrics": {name: column([r.metrics.get(name) for r in records], self._digits) for name in metrics},
            "costs": {name: column(values, _SPEED_DIGITS) for name, values in costs.items()},
        }


def _board(board: Leaderboard, records: Sequence[Summary]) -> dict[str, Any]:
    identity = [
        board.dataset, board.dataset_fingerprint, board.teacher, board.student, board.teacher_view, board.student_view,
        board.teacher_recipe, board.folds, board.devices,
    ]  # fmt: skip
    teachers: dict[str, dict[str, float]] = {}
    for record in records:
        for name, value in record.teacher_metrics.items():
            if value is not None:
                teachers.setdefault(name, {}).setdefault(record.provenance.teacher_fingerprint, value)
    return {
        "key": _key(msgspec.json.encode(identity)),
        "title": board.title,
        "dataset": board.dataset,
        "pair": board.title.removeprefix(f"{board.dataset}: "),
        "task": board.task,
        "metric": board.metric,
        "teachers": {name: list(values.values()) for name, values in teachers.items()},
        "headline": headline(board),
        "notes": board.notes,
    }


def _row(row: RowRuns, label: str, board: int, families: Mapping[str, str]) -> dict[str, Any]:
    first = row.first
    return {
        "board": board,
        "key": _key(row.key),
        "label": label,
        "method": first.method,
        "overridden": bool(first.overrides),
        "family": families.get(first.method, ""),
        "params": first.params,
        "overrides": first.overrides,
        "recipe": first.recipe,
        "settings": first.recipe_settings,
        "recipe_overrides": first.recipe_overrides,
        "source": first.student_source,
        "published": next((msgspec.to_builtins(r.published) for r in row.by_seed.values() if r.published), []),
    }


def _metric(name: str, lower_is_better: Collection[str]) -> dict[str, Any]:
    from kdbench.metric_info import METRICS

    info = METRICS.get(name)
    if info is None:
        return {"title": name, "higher": name.partition(":")[0] not in lower_is_better, "percent": False}
    return {"title": info.title, "higher": info.higher_is_better, "percent": info.percent}


def _rank_quantiles(rows: Sequence[Mapping[str, Any]], boards: int) -> list[float]:
    """Of the Studentized range divided by √2, for 2 methods and more: as many as there may be on several boards."""
    if boards < 2:
        return []
    from kdbench.statistics.across import rank_quantile

    methods = len({(row["method"], msgspec.json.encode(row["overrides"], order="sorted")) for row in rows})
    return [rank_quantile(number) for number in range(2, min(methods, _MOST_METHODS) + 1)]


def _without_seed(record: Summary) -> list[str]:
    """The command in two parts, around its seed; in one where it has none."""
    command = record.provenance.command
    before, found, after = command.rpartition(f" --seed {record.seed}")
    return [before + " --seed ", after] if found and after[:1] in {"", " "} else [command]


def _provenance(record: Summary) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(record.provenance)
    return {name: value for name, value in found.items() if name != "command"}


def _seconds(moment: str) -> int | None:
    try:
        return int(datetime.fromisoformat(moment).timestamp())
    except ValueError:
        return None


def _key(identity: bytes) -> str:
    return f"{zlib.crc32(identity):08x}"
