"""Which runs to ask about before anything is trained, and for which the answers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdbench.executors.worker import Task
from kdbench.plan import Run


def checks(runs: Sequence[Run]) -> list[Task]:
    """One task for each dataset: the first run of every pair and method."""
    firsts: dict[str, dict[str, Run]] = {}
    for run in runs:
        firsts.setdefault(run.combo.dataset, {}).setdefault(run.pair_id, run)
    return [Task("check", next(iter(group.values())), runs=tuple(group.values())) for group in firsts.values()]


def spread(reasons: Mapping[str, str], runs: Sequence[Run]) -> dict[str, str]:
    """Reasons by run id, for all runs that share pair and method with those that they were found for."""
    by_pair = {run.pair_id: reasons[run.run_id] for run in runs if run.run_id in reasons}
    return {run.run_id: by_pair[run.pair_id] for run in runs if run.pair_id in by_pair}
