"""Records aggregated over seeds: one leaderboard per dataset and teacher -> student pair."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from kdbench.errors import UnknownName
from kdbench.metric_info import METRICS, metric_format
from kdbench.names import did_you_mean, settings_text
from kdbench.records import Summary
from kdbench.report.baselines import Twins, choose_baselines, with_defaults
from kdbench.report.grouping import group, rows_of
from kdbench.report.labels import board_title, row_labels
from kdbench.report.notes import board_notes
from kdbench.report.published import published_notes
from kdbench.report.rows import Row, corrected, make_row, median_count, ranked, valueless
from kdbench.report.statistics import mean_interval

PRIMARY_METRIC, BASELINE = "accuracy", "scratch"
COST_REFERENCE = "kd"
"""The method whose cost of training the others' is shown in."""


class Leaderboard(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one pair on one dataset, best first; rows without a mean come last."""

    dataset: str
    dataset_fingerprint: str
    task: str
    teacher: str
    student: str
    teacher_view: str | None
    student_view: str | None
    teacher_recipe: str | None
    folds: int | None
    devices: int
    """Processes that trained each run, and the teacher, together."""
    recipe: str | None
    """The recipe, with what was overridden, where every row has the same."""
    metric: str
    metric_title: str
    metric_percent: bool
    """Shown times 100. The numbers here are not."""
    higher_is_better: bool
    baseline: str
    seeds: list[int]
    teacher_mean: float | None
    """The teacher's own metric: the mean over the teachers of the runs, normally one (one per fold)."""
    teacher_range: tuple[float, float] | None
    """The least and the greatest, where the runs had several teachers."""
    teacher_parameters: int | None
    student_parameters: int | None
    rows: list[Row]
    notes: list[str]
    """What to know before believing the numbers."""

    @property
    def title(self) -> str:
        """`digits: cnn-l → cnn-s`, each model with its view where it has one."""
        return board_title(self)


def leaderboards(
    summaries: Iterable[Summary],
    metric: str | None = None,
    baseline: str = BASELINE,
    *,
    lower_is_better: Collection[str] = (),
    twins: Mapping[str, Twins] = {},
) -> list[Leaderboard]:
    """One leaderboard per dataset (by content), teacher, student, views, teacher recipe, folds and devices.

    A row is a method with its parameters, recipe and recipe settings. Of several runs of a row at the same seed and
    fold, as on two devices, the last one that ended well counts: a seed is never counted twice. Trials of a search are
    left out. With cross-validation the intervals are over seed × fold, as if these were independent; training sets
    overlap, so they are optimistic (Nadeau & Bengio, 2003).

    Args:
        summaries: runs in any order; records serve too.
        metric: what to rank by: a metric's name; "accuracy" where None.
        baseline: the method that differences are taken from.
        lower_is_better: metrics of plugins for which a smaller value is better.
        twins: what methods declare of their parameters (kdbench.report.baselines); without it every row is compared
            with `baseline`.

    Raises: UnknownName where no run has the metric.
    """
    records = [summary for summary in summaries if not summary.trial]
    if metric is not None:
        check_metric(metric, records)
    groups = group(records)
    versions = {identity: len(by_data) for identity, by_data in groups.items()}
    return [
        _leaderboard(members, metric, baseline, lower_is_better, twins, versions[identity])
        for identity in sorted(groups)
        for _, members in sorted(groups[identity].items())
    ]


def check_metric(metric: str, records: list[Summary]) -> None:
    """Raise UnknownName where runs have metrics and none has this one."""
    known = {name for record in records for name in record.metrics}
    if known and metric not in known:
        names = ", ".join(sorted(known))
        raise UnknownName(f"no run has a metric {metric!r}", did_you_mean(metric, known), f"choose one of {names}")


def _leaderboard(
    records: list[Summary],
    metric: str | None,
    baseline: str,
    lower_is_better: Collection[str],
    twins: Mapping[str, Twins],
    versions: int,
) -> Leaderboard:
    metric = metric or _default_metric(records)
    info = METRICS.get(metric)
    higher = info.higher_is_better if info else metric.partition(":")[0] not in lower_is_better
    runs, repeated = rows_of(records, metric)
    baselines, references = with_defaults(runs, baseline), with_defaults(runs, COST_REFERENCE)
    counted = [r for row in runs for r in row.by_seed.values()]
    teachers = _teachers(counted, metric)
    teacher = mean_interval(teachers)
    recipes = {row.recipe_key for row in runs}
    labels = row_labels([row.first for row in runs])
    compared = choose_baselines(runs, baseline, twins)
    label_of = {id(row): label for row, label in zip(runs, labels, strict=True)}
    rows = corrected([
        make_row(
            row,
            label,
            other,
            references.get(row.recipe_key),
            difference_from=label_of[id(other.runs)] if other is not None else None,
            teacher=teacher.mean if teacher else None,
            metric=metric,
            higher=higher,
        )
        for row, label, other in zip(runs, labels, compared, strict=True)
    ])  # fmt: skip
    first = records[0]
    bases = {id(row) for row in [*baselines.values(), *(other.runs for other in compared if other is not None)]}
    own = [r for row in baselines.values() for r in row.by_seed.values()] or [
        r for r in counted if r.student_source == "student"
    ]
    return Leaderboard(
        dataset=first.dataset,
        dataset_fingerprint=next((f for r in records if (f := r.provenance.dataset_fingerprint)), ""),
        task=first.task,
        teacher=first.teacher,
        student=first.student,
        teacher_view=first.teacher_view,
        student_view=first.student_view,
        teacher_recipe=first.teacher_recipe,
        folds=first.folds,
        devices=first.devices,
        recipe=settings_text(first.recipe, first.recipe_overrides) if len(recipes) == 1 else None,
        metric=metric,
        metric_title=info.title if info else metric,
        metric_percent=bool(info and info.percent),
        higher_is_better=higher,
        baseline=baseline,
        seeds=sorted({r.seed for r in counted}),
        teacher_mean=teacher.mean if teacher else None,
        teacher_range=(min(teachers), max(teachers)) if len(teachers) > 1 else None,
        teacher_parameters=median_count(r.cost.teacher_parameters for r in counted),
        student_parameters=median_count(r.cost.parameters for r in own),
        rows=ranked(rows, higher),
        notes=board_notes(
            records=[r for r in counted if r.status == "ok"],
            seeds=[frozenset(row.values) for row in runs if row.values],
            constant=[row.label for row in rows if row.difference and row.pairs > 1 and row.better is None],
            without_baseline=sorted(
                {
                    settings_text(row.first.recipe, row.first.recipe_overrides)
                    for row, other in zip(runs, compared, strict=True)
                    if other is None and id(row) not in bases
                }
            ),
            baseline=baseline,
            given_otherwise=[row.label for row in rows if row.difference_same_given is False],
            twins=[
                (row.label, label_of[id(other.runs)])
                for row, other in zip(rows, compared, strict=True)
                if other is not None and other.runs.first.method != baseline
            ],
            compressed=[row.label for row in rows if row.student_source == "teacher"],
            supported=[row.p_holm for row in rows if row.better and row.p_holm],
            unfinished=any(0 < row.n < row.total for row in rows),
            folds=first.folds,
            versions=versions,
            repeated=repeated,
            published=published_notes(rows, metric_format(metric)),
            valueless=valueless(dict(zip(labels, runs, strict=True))),
        ),
    )


def _default_metric(records: list[Summary]) -> str:
    names = [name for record in records for name in record.metrics]
    return PRIMARY_METRIC if PRIMARY_METRIC in names or not names else names[0]


def _teachers(records: list[Summary], metric: str) -> list[float]:
    """The metric of each teacher, once."""
    found: dict[str, float] = {}
    for record in records:
        value = record.teacher_metrics.get(metric)
        if value is not None:
            found.setdefault(record.provenance.teacher_fingerprint, value)
    return list(found.values())
