"""`kdbench tune --dry-run`: what is searched, where, and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.commands.dry_run import estimate
from kdbench.executors import Execution
from kdbench.plan import NotRun, Run
from kdbench.tuning.study import Study


def describe_search(
    studies: Sequence[tuple[Study, list[Run]]], seeds: int, not_run: Sequence[NotRun], execution: Execution
) -> str:
    """Every search with its budget and its ranges, and an estimate of the time of all of its runs, done or not."""
    lines, runs = [], []
    for study, final in studies:
        lines.append(f"{study.name}: {study.budget} trial{'s' * (study.budget > 1)}")
        searched = {**study.space, **{f"recipe.{name}": search for name, search in study.recipe_space.items()}}
        lines += [f"  {name}: {search}" for name, search in searched.items()]
        lines += [f"  {name}: not searched: {why}" for name, why in study.not_searched.items()]
        if study.budget == 1 and not searched:
            lines.append("  nothing to search: its defaults are its only trial")
        runs += [study.base] * (study.budget * seeds) + final * (2 if study.budget > 1 else 1)
    lines += map(str, not_run)
    trials = sum(study.budget for study, _ in studies) * seeds
    lines.append(f"{trials} runs of trials, then up to {len(runs) - trials} final runs")
    if runs:
        lines.append(estimate(runs, execution))
    return "\n".join(lines)
