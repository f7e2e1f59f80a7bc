"""What to know before believing a leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kdbench.records import Summary

_FEW = 3
_SHOWN = 4
LEVEL = 0.05

Place = tuple[int, int]
"""Seed and fold."""


def board_notes(
    *,
    records: Sequence[Summary],
    seeds: Sequence[frozenset[Place]],
    constant: Sequence[str],
    without_baseline: Sequence[str],
    baseline: str,
    given_otherwise: Sequence[str],
    twins: Sequence[tuple[str, str]],
    compressed: Sequence[str],
    supported: Sequence[float],
    unfinished: bool,
    folds: int | None,
    versions: int,
    repeated: int,
    published: Sequence[str],
    valueless: Mapping[str, Sequence[str]],
) -> list[str]:
    """The notes of one leaderboard.

    Args:
        records: its runs that ended well.
        seeds: the seeds and folds of each row that has any.
        constant: labels of rows whose differences from the baseline do not vary.
        without_baseline: recipes of rows that have nothing to be compared with, for the baseline was not run with them.
        baseline: the method that differences are taken from.
        given_otherwise: labels of rows whose baseline was given something else to learn from.
        twins: labels of rows, each with that of the undistilled row that its difference is taken from, where this is
            not the baseline's.
        compressed: labels of rows whose scored model is made from the teacher.
        supported: the p-value of each row that is marked better, corrected for the number of rows.
        unfinished: whether a row with results has runs that did not end well.
        folds: of the cross-validation.
        versions: how many contents its dataset had over the runs.
        repeated: runs left out because another has the same seed and fold.
        published: what is to be said of the published figures beside its rows.
        valueless: labels of rows whose runs ended well without a value of a metric, by metric.
    """
    return [
        *_about_seeds(seeds, folds),
        *_about_rows(constant, without_baseline, baseline, unfinished=unfinished, repeated=repeated),
        *_about_baselines(baseline, given_otherwise, twins),
        *_about_many(supported),
        *_about_sizes(compressed),
        *published,
        *_about_values(valueless),
        *_about_conditions(records, versions),
    ]


def _about_seeds(seeds: Sequence[frozenset[Place]], folds: int | None) -> Iterator[str]:
    sizes = [len(each) for each in seeds]
    unit = "run" if folds else "seed"
    if sizes and max(sizes) == 1:
        yield f"one {unit} per row: there are no intervals, and no difference is supported; run more with --seeds"
    elif any(size == 1 for size in sizes):
        yield f"some rows have one {unit} only, and so no interval"
    if any(1 < size < _FEW for size in sizes):
        yield f"an interval of fewer than {_FEW} {unit}s is very wide, and its own width is uncertain"
    if len(set(seeds)) > 1:
        yield "the rows do not hold the same seeds: compare the differences, which are over common seeds, not the means"
    if folds:
        yield f"intervals over {folds} folds are optimistic: the training sets overlap (Nadeau & Bengio, 2003)"


def _about_rows(
    constant: Sequence[str], without_baseline: Sequence[str], baseline: str, *, unfinished: bool, repeated: int
) -> Iterator[str]:
    if without_baseline:
        yield f"no run of {baseline!r} with recipe {_some(without_baseline)}: no differences from it there"
    if constant:
        yield f"the same difference at every seed shows no spread, and is not called better: {_some(constant)}"
    if unfinished:
        yield "a mean is over the runs that ended well: a method that sometimes fails is worse than its mean"
    if repeated:
        yield f"{_count(repeated, 'run')} left out: another run of the same row, seed and fold ended later or better"


def _about_baselines(baseline: str, given_otherwise: Sequence[str], twins: Sequence[tuple[str, str]]) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for label, twin in twins:
        rows.setdefault(twin, []).append(label)
    for twin, labels in sorted(rows.items()):
        yield f"Δ from {twin}, the undistilled student that was given the same: {_some(sorted(labels))}"
    if given_otherwise:
        yield (
            f"Δ from {baseline!r}, which was given something else to learn from, for no undistilled row was given the "
            f"same: {_some(sorted(given_otherwise))}"
        )


def _about_many(supported: Sequence[float]) -> Iterator[str]:
    lost = sum(p >= LEVEL for p in supported)
    if lost:
        yield f"corrected for the number of rows (Holm, 5%), {lost} of the {len(supported)} marked better may be chance"


def _about_sizes(compressed: Sequence[str]) -> Iterator[str]:
    if compressed:
        yield (
            f"rows of the teacher, made smaller, and not of the student: {_some(compressed)}; they begin as trained as "
            "the teacher, and are of other sizes: read accuracy together with size and speed"
        )


def _about_values(valueless: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for metric, labels in valueless.items():
        yield f"{metric} cannot be computed for {_some(labels)}"


def _about_conditions(records: Sequence[Summary], versions: int) -> Iterator[str]:
    if versions > 1:
        yield f"the data changed between runs: there are {versions} leaderboards of this pair, not to be compared"
    kinds = {record.provenance.kdbench for record in records}
    if len(kinds) > 1:
        yield f"runs of different versions of kdbench: {_some(sorted(kinds))}"
    for title, found in (
        ("devices", {r.provenance.device for r in records}),
        ("processors", {r.provenance.cpu for r in records}),
        ("numbers of threads", {r.provenance.threads for r in records}),
        ("numbers of workers at a time", {r.provenance.workers for r in records}),
        ("kernel back ends", {r.provenance.kernel_backend for r in records}),
    ):
        if len(found) > 1:
            yield f"speeds were measured with different {title}, do not compare them: {_some(sorted(map(str, found)))}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name or "unknown" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
