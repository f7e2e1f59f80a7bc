"""Searches without training: runs end as a function of their parameters says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import kdbench
from kdbench.outcomes import failure_record, identity
from kdbench.plan import Repeats, Run, make_plan
from kdbench.records import Record
from kdbench.select import Selection
from kdbench.store import Store
from kdbench.tuning.study import Study

AT = "2026-01-01T00:00:00.000+00:00"


class Warm(kdbench.Method):
    """Two ranges and one that depends on a fixed choice."""

    base: Annotated[str, kdbench.Search(fixed=True)] = "kd"
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    steps: Annotated[int, kdbench.Search(1, 5)] = 2
    beta: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.5, 16, log=True, when=("base", "dkd"))] = 8.0

    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


class Picky(Warm):
    """Refuses hot ones."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if self.temperature > 6:
            raise kdbench.InvalidParameter("too hot")


def studies(catalog: Any, *methods: str, settings: tuple[str, ...] = (), **options: Any) -> list[Study]:
    """A study for each method on one pair: `tune_seeds`, `pinned`, `recipe_space` and what else Study takes."""
    for name, method in (("warm", Warm), ("picky", Picky)):
        if name not in [entry.name for entry in catalog.entries("method")]:
            catalog.add("method", name, method, "small", {})
    seeds = options.pop("tune_seeds", (1000,))
    selection = Selection(dataset=("digits",), method=methods)
    runs = make_plan(catalog, selection, settings, Repeats(seeds=seeds)).runs
    options = {"pinned": {}, "recipe_space": {}, "budget": 12, "metric": "accuracy", "higher_is_better": True} | options
    return [
        Study([run for run in runs if run.combo.method == name], catalog.find("method", name).load(), **options)
        for name in methods
    ]


def closeness(run: Run) -> float:
    """Best at temperature 8."""
    return 1 - abs(run.params.get("temperature", 4.0) - 8) / 16


def ended(run: Run, value: float, **changes: Any) -> Record:
    """The record of a trial that scored `value` on validation."""
    fields = {"status": "ok", "val_metrics": {"accuracy": value, "log_loss": 1.0}, "started": AT, "finished": AT}
    return Record(**identity(run) | fields | changes)


def executor(
    store: Store,
    record: Callable[[Run], Record] = lambda run: ended(run, closeness(run)),
    stop_after: int | None = None,
) -> tuple[list[Run], Callable[[list[Run]], None]]:
    """What was executed so far, and a `carry_out` that writes records; interrupted after some number of runs."""
    executed: list[Run] = []

    def carry_out(runs: list[Run]) -> None:
        for run in runs:
            if len(executed) == stop_after:
                raise KeyboardInterrupt
            executed.append(run)
            store.write(record(run), replace=True)

    return executed, carry_out


def failed(run: Run, status: Any = "failed") -> Record:
    """The record of a trial that did not end well."""
    return failure_record(run, status, "ValueError: no", AT)
