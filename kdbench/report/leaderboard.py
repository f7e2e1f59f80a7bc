"""Records aggregated over seeds: one leaderboard per dataset and teacher -> student pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from statistics import median
from typing import Any

import msgspec

from kdbench.errors import UnknownName
from kdbench.metric_info import METRICS, metric_format
from kdbench.names import did_you_mean
from kdbench.records import Summary
from kdbench.report.grouping import RowRuns, group, paired_values, rows_of
from kdbench.report.labels import board_title, row_labels, settings_text
from kdbench.report.notes import board_notes
from kdbench.report.published import published_notes
from kdbench.report.statistics import Interval, mean_interval, paired_interval
from kdbench.statistics import cohen_dz, holm, paired_test

PRIMARY_METRIC, BASELINE = "accuracy", "scratch"
COST_REFERENCE = "kd"
"""The method whose cost of training the others' is shown in."""
BATCH = "64"
"""The batch size whose inference speed is shown."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One method with its settings, over seeds (and folds). Metrics are on the test split, None where not known."""

    label: str
    method: str
    overrides: dict[str, Any]
    recipe: str
    recipe_overrides: dict[str, Any]
    rank: int | None
    """By mean, best first; rows with the same mean share a rank. None without a mean."""
    n: int
    """Runs that the mean is over."""
    total: int
    """Runs of this row, with any status."""
    failed: int
    diverged: int
    timeout: int
    error: str | None
    """Of the first run that did not end well, by seed and fold."""
    mean: float | None
    half_width: float | None
    """Of the 95% t interval; None for fewer than two runs."""
    std: float | None
    difference: float | None
    """Mean over pairs of the same seed and fold of this row's metric - the baseline's with the same recipe."""
    difference_half_width: float | None
    pairs: int
    better: bool | None
    """The 95% interval of the difference lies wholly on the better side of 0. None where there is no interval: fewer
    than two pairs, or differences that do not vary and so tell nothing about their spread."""
    worse: bool | None
    """The interval lies wholly on the worse side of 0."""
    p_value: float | None
    """Of the two-sided paired t-test of that difference."""
    p_holm: float | None
    """Corrected for the number of the board's rows that have one (Holm, 1979)."""
    effect_size: float | None
    """Cohen's d of that difference: in standard deviations of the paired differences."""
    kd_difference: float | None
    """As `difference`, from `kd` with its defaults and the same recipe."""
    kd_difference_half_width: float | None
    gap_recovered: float | None
    """difference / (teacher - baseline): 0 is as good as the baseline, 1 as the teacher. None where the teacher leads
    the baseline by no more than the half-width of the baseline's interval, for the quotient is then noise."""
    published: float | None
    """What a paper reports for this row in the board's metric."""
    published_difference: float | None
    """mean - the published figure."""
    published_source: str | None
    """The paper and its table."""
    published_protocol: str | None
    """What the figure is: of how many runs, which epoch, which split."""
    published_teacher: float | None
    """The paper's figure for its teacher."""
    metrics: dict[str, float]
    """The mean of each metric over the runs that have it."""
    student_source: str
    """"student", or "teacher" where the scored model is made from the teacher."""
    parameters: int | None
    """Costs and speeds are medians over the runs."""
    nonzero_parameters: int | None
    bytes: int | None
    """As stored."""
    inference_samples_per_s: float | None
    """At batch size 64."""
    latency_ms_p50: float | None
    train_samples_per_s: float | None
    train_seconds: float | None
    step_time: float | None
    """Seconds per item trained on, relative to `kd` with its defaults and the same recipe; None without such a row."""
    train_memory: float | None
    """Peak memory of the training, relative to the same."""


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

    Raises: UnknownName where no run has the metric.
    """
    records = [summary for summary in summaries if not summary.trial]
    if metric is not None:
        check_metric(metric, records)
    groups = group(records)
    versions = {identity: len(by_data) for identity, by_data in groups.items()}
    return [
        _leaderboard(members, metric, baseline, lower_is_better, versions[identity])
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
    records: list[Summary], metric: str | None, baseline: str, lower_is_better: Collection[str], versions: int
) -> Leaderboard:
    metric = metric or _default_metric(records)
    info = METRICS.get(metric)
    higher = info.higher_is_better if info else metric.partition(":")[0] not in lower_is_better
    runs, repeated = rows_of(records, metric)
    baselines = {row.recipe_key: row for row in runs if row.first.method == baseline and not row.first.overrides}
    references = {row.recipe_key: row for row in runs if row.first.method == COST_REFERENCE and not row.first.overrides}
    counted = [r for row in runs for r in row.by_seed.values()]
    teachers = _teachers(counted, metric)
    teacher = mean_interval(teachers)
    recipes = {row.recipe_key for row in runs}
    labels = row_labels([row.first for row in runs])
    rows = [
        _row(
            row,
            label,
            baselines.get(row.recipe_key),
            references.get(row.recipe_key),
            teacher.mean if teacher else None,
            metric,
            higher,
        )
        for row, label in zip(runs, labels, strict=True)
    ]
    first = records[0]
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
        teacher_parameters=_median_count(r.cost.teacher_parameters for r in counted),
        student_parameters=_median_count(r.cost.parameters for r in own),
        rows=_ranked(_corrected(rows), higher),
        notes=board_notes(
            records=[r for r in counted if r.status == "ok"],
            seeds=[frozenset(row.values) for row in runs if row.values],
            constant=[row.label for row in rows if row.difference and row.pairs > 1 and row.better is None],
            without_baseline=sorted(
                {
                    settings_text(row.first.recipe, row.first.recipe_overrides)
                    for row in runs
                    if row.recipe_key not in baselines
                }
            ),
            baseline=baseline,
            compressed=[row.label for row in rows if row.student_source == "teacher"],
            supported=[p for row, p in zip(rows, holm([row.p_value for row in rows]), strict=True) if row.better and p],
            unfinished=any(0 < row.n < row.total for row in rows),
            folds=first.folds,
            versions=versions,
            repeated=repeated,
            published=published_notes(rows, metric_format(metric)),
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


def _row(
    runs: RowRuns,
    label: str,
    baseline: RowRuns | None,
    reference: RowRuns | None,
    teacher: float | None,
    metric: str,
    higher: bool,
) -> Row:
    first, records = runs.first, list(runs.by_seed.values())
    done = _done(runs)
    unfinished = [r for r in records if r.status != "ok"]
    statuses = [r.status for r in unfinished]
    interval = mean_interval(list(runs.values.values()))
    pairs = paired_values(runs, baseline)
    difference, from_reference = paired_interval(pairs), paired_interval(paired_values(runs, reference))
    test = paired_test(pairs)
    better, worse = verdict(difference, higher)
    published = next((figure for r in records for figure in r.published if figure.metric == metric), None)
    return Row(
        label=label,
        method=first.method,
        overrides=first.overrides,
        recipe=first.recipe,
        recipe_overrides=first.recipe_overrides,
        rank=None,
        n=len(runs.values),
        total=len(records),
        failed=statuses.count("failed"),
        diverged=statuses.count("diverged"),
        timeout=statuses.count("timeout"),
        error=next((r.error or r.status for r in unfinished), None),
        mean=interval.mean if interval else None,
        half_width=interval.half_width if interval else None,
        std=interval.std if interval else None,
        difference=difference.mean if difference else None,
        difference_half_width=difference.half_width if difference else None,
        pairs=difference.n if difference else 0,
        better=better,
        worse=worse,
        p_value=test.p_value if test else None,
        p_holm=None,
        effect_size=cohen_dz(pairs),
        kd_difference=from_reference.mean if from_reference else None,
        kd_difference_half_width=from_reference.half_width if from_reference else None,
        gap_recovered=_gap_recovered(difference, baseline, teacher, higher),
        published=published.value if published else None,
        published_difference=interval.mean - published.value if interval and published else None,
        published_source=published.source if published else None,
        published_protocol=published.protocol if published else None,
        published_teacher=published.teacher if published else None,
        metrics=_means([r.metrics for r in done]),
        student_source=first.student_source,
        parameters=_median_count(r.cost.parameters for r in done),
        nonzero_parameters=_median_count(r.cost.nonzero_parameters for r in done),
        bytes=_median_count(r.cost.bytes for r in done),
        inference_samples_per_s=_median(r.throughput.inference_samples_per_s.get(BATCH) for r in done),
        latency_ms_p50=_median(r.throughput.latency_ms_p50 for r in done),
        train_samples_per_s=_train_speed(runs),
        train_seconds=_median(r.cost.seconds.get("train") for r in done),
        step_time=_quotient(_train_speed(reference), _train_speed(runs)),
        train_memory=_quotient(_train_memory(runs), _train_memory(reference)),
    )


def _train_speed(runs: RowRuns | None) -> float | None:
    return None if runs is None else _median(r.throughput.train_samples_per_s for r in _done(runs))


def _train_memory(runs: RowRuns | None) -> float | None:
    return None if runs is None else _median(r.cost.peak_memory_bytes for r in _done(runs))


def _done(runs: RowRuns) -> list[Summary]:
    return [record for record in runs.by_seed.values() if record.status == "ok"]


def _quotient(value: float | None, reference: float | None) -> float | None:
    return value / reference if value is not None and reference else None


def verdict(difference: Interval | None, higher: bool) -> tuple[bool | None, bool | None]:
    """Whether the interval supports better, and worse."""
    if difference is None or difference.low is None or difference.high is None:
        return None, None
    if difference.std == 0 and difference.mean != 0:
        return None, None
    above, below = difference.low > 0, difference.high < 0
    return (above, below) if higher else (below, above)


def _gap_recovered(
    difference: Interval | None, baseline: RowRuns | None, teacher: float | None, higher: bool
) -> float | None:
    scratch = mean_interval(list(baseline.values.values())) if baseline is not None else None
    if difference is None or teacher is None or scratch is None or scratch.half_width is None:
        return None
    gap = teacher - scratch.mean
    if (gap if higher else -gap) <= scratch.half_width:
        return None
    return difference.mean / gap


def _means(metrics: list[dict[str, float | None]]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for each in metrics:
        for name, value in each.items():
            if value is not None:
                values[name].append(value)
    return {name: sum(found) / len(found) for name, found in sorted(values.items())}


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return median(found) if found else None


def _median_count(values: Iterable[int | None]) -> int | None:
    found = _median(values)
    return None if found is None else round(found)


def _corrected(rows: list[Row]) -> list[Row]:
    """The rows with their p-values corrected for how many there are."""
    corrected = holm([row.p_value for row in rows])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _ranked(rows: list[Row], higher: bool) -> list[Row]:
    def order(row: Row) -> tuple[float, str]:
        mean = float("-inf") if row.mean is None else round(row.mean if higher else -row.mean, 12)
        return -mean, row.label

    ranked: list[Row] = []
    for position, row in enumerate(sorted(rows, key=order), start=1):
        tied = bool(ranked) and order(ranked[-1])[0] == order(row)[0]
        rank = None if row.mean is None else ranked[-1].rank if tied else position
        ranked.append(msgspec.structs.replace(row, rank=rank))
    return ranked
