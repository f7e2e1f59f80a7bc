"""Two sets of results side by side: what became better or worse beyond noise, what is new or gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from statistics import median
from typing import Any, Literal

import msgspec

from kdbench.records import Summary
from kdbench.report.grouping import RowRuns, group, rows_of
from kdbench.report.labels import row_labels
from kdbench.report.leaderboard import PRIMARY_METRIC, check_metric
from kdbench.report.rows import BATCH
from kdbench.report.statistics import Interval, paired_interval

Verdict = Literal["better", "worse", "unchanged", "unclear", "new", "gone"]
_SHOWN = 5


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a leaderboard in the results A and B; B - A where there is a difference."""

    board: str
    label: str
    verdict: Verdict
    """better, worse: the 95% interval of the difference excludes 0, or runs fail in one that end well in the other.
    unchanged: it includes 0, or every pair is equal. unclear: one pair, or differences without spread.
    new, gone: only B, only A has the row."""
    why: str
    pairs: int
    """Runs of the same seed and fold that ended well in both."""
    a: float | None
    """The metric's mean over the pairs; over all runs where the row is new or gone."""
    b: float | None
    difference: float | None
    half_width: float | None
    """Of the paired 95% t interval."""
    inference_ratio: float | None
    """Median speed in B / in A, in batches of 64; no verdict is drawn from speeds, which depend on the machine."""
    train_ratio: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Every row of two sets of results."""

    metric: str
    changes: list[Change]
    provenance: dict[str, tuple[list[str], list[str]]]
    """What differs between the conditions of A and B: the values of each."""

    @property
    def regressed(self) -> bool:
        """Whether any row is worse."""
        return any(change.verdict == "worse" for change in self.changes)


def compare(
    a: Iterable[Summary],
    b: Iterable[Summary],
    metric: str | None = None,
    *,
    lower_is_better: Collection[str] = (),
) -> Comparison:
    """Match the rows of two sets of results by pair, method, parameters and recipe, and their runs by seed and fold.

    Each interval stands by itself: of many rows that did not change, one in 20 is called better or worse by chance.

    Args:
        a, b: runs in any order; records serve too. Trials of a search are left out.
        metric: "accuracy" where None.
        lower_is_better: metrics of plugins for which a smaller value is better.

    Raises: UnknownName where no run has the metric.
    """
    from kdbench.metric_info import METRICS

    before, after = ([summary for summary in summaries if not summary.trial] for summaries in (a, b))
    if metric is not None:
        check_metric(metric, [*before, *after])
    metric = metric or PRIMARY_METRIC
    higher = METRICS[metric].higher_is_better if metric in METRICS else metric not in lower_is_better
    old = set(map(id, before))
    changes: list[Change] = []
    # Grouped together: runs that failed before they read their data join the board of the other side's.
    for identity, by_data in sorted(group([*before, *after]).items()):
        for fingerprint, members in sorted(by_data.items()):
            sides = ([r for r in members if id(r) in old], [r for r in members if id(r) not in old])
            rows = [{row.key: row for row in rows_of(side, metric)[0]} for side in sides]
            changes += _board_changes(_title(identity, fingerprint), rows[0], rows[1], higher)
    return Comparison(metric=metric, changes=changes, provenance=_conditions(before, after))


def _title(identity: tuple[Any, ...], fingerprint: str) -> str:
    dataset, teacher, student, teacher_view, student_view, teacher_recipe, folds, devices = identity
    names = [f"{view}:{name}" if view else name for view, name in ((teacher_view, teacher), (student_view, student))]
    folded = f", {folds} folds" if folds else ""
    together = f", {devices} processes each" if devices > 1 else ""
    data, pair = f"{dataset} ({fingerprint[:8] or 'not read'})", " → ".join(names)
    return f"{data}: {pair}, teacher recipe {teacher_recipe}{folded}{together}"


def _board_changes(
    board: str, old: Mapping[bytes, RowRuns], new: Mapping[bytes, RowRuns], higher: bool
) -> Iterator[Change]:
    keys = list(dict.fromkeys([*old, *new]))
    labels = row_labels([(new.get(key) or old[key]).first for key in keys])
    for label, key in sorted(zip(labels, keys, strict=True)):
        yield _change(board, label, old.get(key), new.get(key), higher)


def _change(board: str, label: str, old: RowRuns | None, new: RowRuns | None, higher: bool) -> Change:
    before, after = (dict(row.values) if row is not None else {} for row in (old, new))
    common = sorted(before.keys() & after.keys())
    interval = paired_interval([(after[place], before[place]) for place in common])
    if old is None or new is None:
        verdict: Verdict = "new" if old is None else "gone"
        why = ""
    else:
        verdict, why = _verdict(old, new, interval, higher)
    places = common if old is not None and new is not None else sorted(before.keys() | after.keys())
    return Change(
        board=board,
        label=label,
        verdict=verdict,
        why=why,
        pairs=len(common),
        a=_mean([before[place] for place in places if place in before]),
        b=_mean([after[place] for place in places if place in after]),
        difference=interval.mean if interval else None,
        half_width=interval.half_width if interval else None,
        inference_ratio=_ratio(old, new, lambda r: r.throughput.inference_samples_per_s.get(BATCH)),
        train_ratio=_ratio(old, new, lambda r: r.throughput.train_samples_per_s),
    )


def _verdict(old: RowRuns, new: RowRuns, interval: Interval | None, higher: bool) -> tuple[Verdict, str]:
    fail_in_b = _ended_otherwise(old, new)
    fail_in_a = _ended_otherwise(new, old)
    if fail_in_b or fail_in_a:
        return (
            ("worse", f"no longer ends well: {fail_in_b}") if fail_in_b else ("better", f"ends well now: {fail_in_a}")
        )
    if interval is None:
        return "unclear", "no runs of the same seed ended well in both"
    if interval.mean == 0 and not interval.std:
        return "unchanged", "all equal"
    if interval.half_width is None:
        return "unclear", "one pair: no interval"
    if interval.half_width == 0:
        return "unclear", "the same difference in every pair: no spread"
    if abs(interval.mean) <= interval.half_width:
        return "unchanged", "within noise"
    return ("better" if (interval.mean > 0) == higher else "worse"), ""


def _ended_otherwise(well: RowRuns, other: RowRuns) -> str:
    """The seeds that ended well in the one and did not in the other."""
    places = [p for p in well.values if p in other.by_seed and other.by_seed[p].status != "ok"]
    names = [f"seed {seed}" if fold < 0 else f"seed {seed} fold {fold}" for seed, fold in places]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _ratio(old: RowRuns | None, new: RowRuns | None, speed: Any) -> float | None:
    medians = []
    for row in (old, new):
        values = [value for r in row.by_seed.values() if (value := speed(r))] if row is not None else []
        if not values:
            return None
        medians.append(median(values))
    return float(medians[1] / medians[0])


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _conditions(before: list[Summary], after: list[Summary]) -> dict[str, tuple[list[str], list[str]]]:
    """The fields of provenance whose values differ; those of one run alone (fingerprints, command) are left out."""
    found = {}
    for name in ("kdbench", "git_commit", "device", "cpu", "threads", "workers", "platform", "python",
                 "deterministic", "kernel_backend", "plugins", "libraries"):  # fmt: skip
        a, b = (sorted({_text(getattr(r.provenance, name)) for r in records}) for records in (before, after))
        if a != b:
            found[name] = (a, b)
    return found


def _text(value: Any) -> str:
    return (
        ", ".join(f"{key} {version}" for key, version in sorted(value.items()))
        if isinstance(value, dict)
        else str(value)
    )
