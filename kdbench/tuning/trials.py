"""The trials of several studies carried out: asked together, run together, told in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kdbench.job import remaining
from kdbench.plan import Plan, Run
from kdbench.store import Store
from kdbench.tuning.study import Proposal, Study

CarryOut = Callable[[list[Run]], None]
"""Executes the runs; all of them have a record in the store when it returns."""


def search(
    studies: Sequence[Study], store: Store, carry_out: CarryOut, *, fresh: bool = False, warn: Callable[[str], None]
) -> None:
    """Spend the budget of every study. Trials that are in the store are not run again, however they ended.

    Where every first trial of a study failed, as without its teacher, those are tried again: nothing was learnt.

    Args:
        studies: not asked yet.
        store: where the trials' records are, and are written by `carry_out`.
        carry_out: executes runs.
        fresh: run again what is in the store.
        warn: told about damaged records, whose runs are done again.
    """
    while proposed := [(study, proposal) for study in studies for proposal in study.ask()]:
        runs = {run.run_id: run for _, proposal in proposed for run in proposal.runs}
        todo = remaining(Plan(tuple(runs.values())), store, fresh=fresh, warn=warn, retry=False)
        if not fresh:
            todo = [*todo, *_hopeless(proposed, store, {run.run_id for run in todo})]
        if todo:
            carry_out(todo)
        found = {summary.run_id: summary for summary in store.summaries(runs, problems=[])}
        for study, proposal in proposed:
            study.tell(proposal, [found[run.run_id] for run in proposal.runs if run.run_id in found])


def _hopeless(proposed: Sequence[tuple[Study, Proposal]], store: Store, pending: set[str]) -> list[Run]:
    """The failed runs of studies that begin, and of whose first trials none ended well."""
    again: dict[str, Run] = {}
    for study in dict.fromkeys(study for study, _ in proposed if not study.trials):
        runs = {run.run_id: run for other, proposal in proposed if other is study for run in proposal.runs}
        statuses = store.statuses(runs, problems=[])
        if pending.isdisjoint(runs) and not {"ok", "diverged"} & set(statuses.values()):
            again |= runs
    return list(again.values())
