"""One row of a leaderboard: a method with its settings, its runs made into numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

import msgspec

from kdbench.records import Summary
from kdbench.report.baselines import Baseline
from kdbench.report.grouping import RowRuns, paired_values
from kdbench.report.statistics import Interval, mean_interval, paired_interval
from kdbench.statistics import cohen_dz, holm, paired_test

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
    difference_from: str | None
    """The label of this row's baseline: the undistilled row of the same recipe that was given the same, such as the
    same share of labels, or else the board's baseline. None for that one, and where it was not run with the recipe."""
    difference_same_given: bool | None
    """Whether that one was given the same to learn from."""
    difference: float | None
    """Mean over pairs of the same seed and fold of this row's metric - its baseline's."""
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


def make_row(
    runs: RowRuns,
    label: str,
    baseline: Baseline | None,
    reference: RowRuns | None,
    *,
    difference_from: str | None,
    teacher: float | None,
    metric: str,
    higher: bool,
) -> Row:
    """The row, without its rank and its corrected p-value, which depend on the other rows.

    Args:
        runs: of the row.
        label: of the row.
        baseline: what `difference` is taken from.
        reference: what the cost of training is shown in.
        difference_from: its label.
        teacher: the mean of its metric.
        metric: what is ranked by.
        higher: whether more of it is better.
    """
    first, records = runs.first, list(runs.by_seed.values())
    done = _done(runs)
    unfinished = [r for r in records if r.status != "ok"]
    statuses = [r.status for r in unfinished]
    interval = mean_interval(list(runs.values.values()))
    other = baseline.runs if baseline is not None else None
    pairs = paired_values(runs, other)
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
        difference_from=difference_from,
        difference_same_given=baseline.same_given if baseline is not None else None,
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
        gap_recovered=_gap_recovered(difference, other, teacher, higher),
        published=published.value if published else None,
        published_difference=interval.mean - published.value if interval and published else None,
        published_source=published.source if published else None,
        published_protocol=published.protocol if published else None,
        published_teacher=published.teacher if published else None,
        metrics=_means([r.metrics for r in done]),
        student_source=first.student_source,
        parameters=median_count(r.cost.parameters for r in done),
        nonzero_parameters=median_count(r.cost.nonzero_parameters for r in done),
        bytes=median_count(r.cost.bytes for r in done),
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


def valueless(rows: Mapping[str, RowRuns]) -> dict[str, list[str]]:
    """Metrics that all runs of a row that ended well were asked for and have no value of: labels of rows, by metric."""
    found: dict[str, list[str]] = defaultdict(list)
    for label, runs in rows.items():
        done = [record.metrics for record in _done(runs)]
        names = set[str]().union(*done)
        for name in sorted(names):
            if all(name in metrics and metrics[name] is None for metrics in done):
                found[name].append(label)
    return dict(sorted(found.items()))


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return median(found) if found else None


def median_count(values: Iterable[int | None]) -> int | None:
    """The median, to a whole number; None of none."""
    found = _median(values)
    return None if found is None else round(found)


def corrected(rows: list[Row]) -> list[Row]:
    """The rows with their p-values corrected for how many there are."""
    p_values = holm([row.p_value for row in rows])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(rows, p_values, strict=True)]


def ranked(rows: list[Row], higher: bool) -> list[Row]:
    """The rows with their ranks, best first; those without a mean last."""

    def order(row: Row) -> tuple[float, str]:
        mean = float("-inf") if row.mean is None else round(row.mean if higher else -row.mean, 12)
        return -mean, row.label

    found: list[Row] = []
    for position, row in enumerate(sorted(rows, key=order), start=1):
        tied = bool(found) and order(found[-1])[0] == order(row)[0]
        rank = None if row.mean is None else found[-1].rank if tied else position
        found.append(msgspec.structs.replace(row, rank=rank))
    return found
