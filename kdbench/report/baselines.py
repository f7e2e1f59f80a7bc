"""Which row a row's difference is taken from: the undistilled student that was given the same to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from kdbench.report.grouping import RowRuns

if TYPE_CHECKING:
    from kdbench.catalog import Catalog


@dataclass(frozen=True)
class Twins:
    """What a method declared of its parameters where it was registered."""

    given: tuple[str, ...] = ()
    """Parameters that say what the student is given to learn from, such as the share of labels."""
    undistilled: Mapping[str, Any] = field(default_factory=dict)
    """The values with which nothing is learnt from the teacher; empty where there are none."""


@dataclass(frozen=True)
class Baseline:
    """The row that another one is compared with."""

    runs: RowRuns
    same_given: bool
    """Whether both were given the same to learn from."""


def declared_twins(catalog: Catalog) -> dict[str, Twins]:
    """By method, of those that declare any: `register("NAME", ..., given=("labelled",), undistilled={"weight": 0})`."""
    return {
        entry.name: Twins(entry.metadata.get("given", ()), entry.metadata.get("undistilled", {}))
        for entry in catalog.entries("method")
        if {"given", "undistilled"} & set(entry.metadata)
    }


def choose_baselines(rows: Sequence[RowRuns], baseline: str, twins: Mapping[str, Twins] = {}) -> list[Baseline | None]:
    """For each row of a board the one that its difference is from; None for the baseline, and where there is none.

    It has the same recipe with the same settings. Of those it is the undistilled row that was given the same; where no
    such row is, and for an undistilled row itself, the baseline with its defaults.

    Args:
        rows: of one board.
        baseline: the method that is compared with: undistilled, and given everything.
        twins: what methods declare, by name.
    """
    plain = with_defaults(rows, baseline)
    apart = {id(row) for row in rows if _learns_nothing_from_the_teacher(row, twins)}
    undistilled: dict[tuple[bytes, bytes], RowRuns] = {}
    for row in sorted((row for row in rows if id(row) in apart), key=lambda row: (len(row.first.overrides), row.key)):
        undistilled.setdefault((row.recipe_key, _given(row, twins)), row)
    nothing = _encoded({})
    undistilled |= {(recipe, nothing): row for recipe, row in plain.items()}
    found: list[Baseline | None] = []
    for row in rows:
        given = _given(row, twins)
        same = None if id(row) in apart else undistilled.get((row.recipe_key, given))
        chosen = same or plain.get(row.recipe_key)
        found.append(None if chosen is None or chosen is row else Baseline(chosen, given == _given(chosen, twins)))
    return found


def with_defaults(rows: Iterable[RowRuns], method: str) -> dict[bytes, RowRuns]:
    """A method's row with its default parameters, by recipe and its settings."""
    return {row.recipe_key: row for row in rows if row.first.method == method and not row.first.overrides}


def _learns_nothing_from_the_teacher(row: RowRuns, twins: Mapping[str, Twins]) -> bool:
    settings = twins.get(row.first.method, Twins()).undistilled
    return bool(settings) and all(row.first.params.get(name) == value for name, value in settings.items())


def _given(row: RowRuns, twins: Mapping[str, Twins]) -> bytes:
    names = twins.get(row.first.method, Twins()).given
    return _encoded({name: row.first.params.get(name) for name in names})


def _encoded(given: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(given, order="sorted")
