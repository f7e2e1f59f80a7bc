"""The tuned leaderboard: each method with its defaults and with the best parameters that its search found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.names import settings_text
from kdbench.plan import Run
from kdbench.records import Summary
from kdbench.report.labels import board_title
from kdbench.report.leaderboard import BASELINE
from kdbench.report.rows import verdict
from kdbench.report.statistics import mean_interval, paired_interval
from kdbench.tuning.study import Trial

if TYPE_CHECKING:
    from kdbench.tuning.study import Study


class TunedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One method. `default`, `tuned` and their differences are on the test split, over the final seeds."""

    label: str
    method: str
    recipe: str
    rank: int | None
    """By the tuned mean, best first; rows with the same mean share a rank."""
    budget: int
    """Trials that it was given: the same for all methods with something to search, 1 for the others."""
    unfinished: int
    """Trials that failed, diverged or took too long; they count against the budget."""
    best_trial: int | None
    """The number of the best trial; 0 is the defaults. None where no trial ended well."""
    params: dict[str, Any]
    """The hyper-parameters of the best trial that differ from the defaults."""
    recipe_overrides: dict[str, Any]
    """The searched recipe settings of the best trial."""
    default_validation: float | None
    best_validation: float | None
    """Of trial 0 and of the best trial, on the validation split at the seeds of the search."""
    default: float | None
    default_half_width: float | None
    tuned: float | None
    tuned_half_width: float | None
    gain: float | None
    """Mean of tuned - default at the same seeds; None where nothing was searched."""
    gain_half_width: float | None
    gained: bool | None
    """The 95% interval of the gain lies wholly on the better side of 0."""
    difference: float | None
    """Mean of this row's tuned metric - the tuned baseline's, at the same seeds."""
    difference_half_width: float | None
    seeds: int
    """Final runs that `tuned` is over."""
    error: str | None
    """Of the first final run that did not end well; of the first trial, where none ended well."""
    not_searched: dict[str, str]
    """Hyper-parameters that were not searched, and why."""
    curve: list[float | None]
    """The best validation value so far, after each trial."""
    trials: list[Trial]


class TunedBoard(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one pair on one dataset, best first."""

    dataset: str
    teacher: str
    student: str
    teacher_view: str | None
    student_view: str | None
    teacher_recipe: str | None
    metric: str
    higher_is_better: bool
    baseline: str
    sampler: str
    trial_seeds: list[int]
    seeds: list[int]
    recipe_searched: list[str]
    """Recipe settings that were searched for every method alike."""
    rows: list[TunedRow]

    @property
    def title(self) -> str:
        """`digits: cnn-l → cnn-s`, each model with its view where it has one."""
        return board_title(self)


@dataclass(frozen=True)
class Tuned:
    """A finished search, and the final runs with the defaults and with its best parameters."""

    study: Study
    trial_seeds: tuple[int, ...]
    default: Sequence[Run]
    tuned: Sequence[Run]
    """Empty where no trial ended well."""


def tuned_boards(results: Iterable[Tuned], summaries: Mapping[str, Summary]) -> list[TunedBoard]:
    """One board per dataset, pair and teacher recipe; `summaries` are the final runs', by run id."""
    groups: dict[tuple[Any, ...], list[Tuned]] = {}
    for result in results:
        base = result.study.base
        key = (base.combo.dataset, base.combo.pair, base.teacher_recipe_label)
        groups.setdefault(key, []).append(result)
    return [_board(members, summaries) for members in groups.values()]


def _board(results: list[Tuned], summaries: Mapping[str, Summary]) -> TunedBoard:
    study = results[0].study
    combo, metric, higher = study.base.combo, study.metric, study.higher_is_better
    recipes = {_recipe(result) for result in results}
    scores = [_scores(result.tuned, summaries, metric) for result in results]
    baselines = {
        _recipe(result): score
        for result, score in zip(results, scores, strict=True)
        if result.study.base.combo.method == BASELINE
    }
    rows = []
    for result, score in zip(results, scores, strict=True):
        base = result.study.base
        own = settings_text(base.combo.method, base.overrides)
        label = f"{own}@{_recipe(result)}" if len(recipes) > 1 else own
        baseline = None if base.combo.method == BASELINE else baselines.get(_recipe(result))
        rows.append(_row(result, label, score, baseline, summaries))
    return TunedBoard(
        dataset=combo.dataset,
        teacher=combo.teacher,
        student=combo.student,
        teacher_view=combo.teacher_view,
        student_view=combo.student_view,
        teacher_recipe=study.base.teacher_recipe_label,
        metric=metric,
        higher_is_better=higher,
        baseline=BASELINE,
        sampler=study.sampler,
        trial_seeds=list(results[0].trial_seeds),
        seeds=sorted({run.seed for result in results for run in result.default}),
        recipe_searched=list(study.recipe_space),
        rows=_ranked(rows, higher),
    )


def _row(
    result: Tuned,
    label: str,
    scores: dict[int, float],
    baseline: dict[int, float] | None,
    summaries: Mapping[str, Summary],
) -> TunedRow:
    study, best = result.study, result.study.best
    defaults = _scores(result.default, summaries, study.metric)
    before, after = mean_interval(list(defaults.values())), mean_interval(list(scores.values()))
    common = sorted(scores.keys() & defaults.keys()) if study.budget > 1 else []
    gain = paired_interval((scores[seed], defaults[seed]) for seed in common)
    difference = None
    if baseline is not None:
        difference = paired_interval((scores[seed], baseline[seed]) for seed in sorted(scores.keys() & baseline.keys()))
    finals = [summaries[run.run_id] for run in (*result.default, *result.tuned) if run.run_id in summaries]
    failed = [each.error or each.status for each in finals if each.status != "ok"]
    if best is None and study.trials:
        failed = [study.trials[0].error or study.trials[0].status, *failed]
    return TunedRow(
        label=label,
        method=study.base.combo.method,
        recipe=study.base.combo.recipe,
        rank=None,
        budget=study.budget,
        unfinished=sum(trial.value is None for trial in study.trials),
        best_trial=best.number if best else None,
        params=_changed(result),
        recipe_overrides=best.recipe if best else {},
        default_validation=study.trials[0].value if study.trials else None,
        best_validation=best.value if best else None,
        default=before.mean if before else None,
        default_half_width=before.half_width if before else None,
        tuned=after.mean if after else None,
        tuned_half_width=after.half_width if after else None,
        gain=gain.mean if gain else None,
        gain_half_width=gain.half_width if gain else None,
        gained=verdict(gain, study.higher_is_better)[0],
        difference=difference.mean if difference else None,
        difference_half_width=difference.half_width if difference else None,
        seeds=len(scores),
        error=failed[0] if failed else None,
        not_searched=study.not_searched,
        curve=study.curve,
        trials=study.trials,
    )


def _changed(result: Tuned) -> dict[str, Any]:
    """What the tuned runs have other than the default ones."""
    if not result.tuned:
        return {}
    before, after = result.default[0].params, result.tuned[0].params
    return {name: value for name, value in after.items() if value != before[name]}


def _scores(runs: Sequence[Run], summaries: Mapping[str, Summary], metric: str) -> dict[int, float]:
    """The test metric of the runs that ended well, by seed."""
    return {
        run.seed: value
        for run in runs
        if (found := summaries.get(run.run_id)) is not None
        and found.status == "ok"
        and (value := found.metrics.get(metric)) is not None
    }


def _recipe(result: Tuned) -> str:
    """The recipe with what was set of it: methods are compared under the same one."""
    return settings_text(result.study.base.combo.recipe, result.study.base.recipe_overrides)


def _ranked(rows: list[TunedRow], higher: bool) -> list[TunedRow]:
    def order(row: TunedRow) -> float:
        return float("inf") if row.tuned is None else round(-row.tuned if higher else row.tuned, 12)

    ranked: list[TunedRow] = []
    for place, row in enumerate(sorted(rows, key=lambda row: (order(row), row.label)), start=1):
        tied = bool(ranked) and order(ranked[-1]) == order(row)
        rank = None if row.tuned is None else ranked[-1].rank if tied else place
        ranked.append(msgspec.structs.replace(row, rank=rank))
    return ranked
