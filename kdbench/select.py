"""What a person asked for -> the combos it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from kdbench.catalog import Catalog, Kind
from kdbench.combo import Combo
from kdbench.errors import UnknownName, UsageError
from kdbench.expression import compile_expression
from kdbench.names import did_you_mean, settings_text
from kdbench.published import Published, published_of

AXES: tuple[Kind, ...] = ("dataset", "teacher", "student", "method", "recipe")


@dataclass(frozen=True)
class Selection:
    """Which combos to run: by name or glob, expression, suite, and by what they are made of.

    `all` stands for every combo but those registered as `on_request`, which a name, a suite or an axis reaches.
    Axes stand for the product of their values: the registered combos there, and where one value of an axis has none
    beside the values of the axes before it, those of the other values take it in their place. A dataset without any
    combo needs a teacher, a student and a method beside it. A glob stands for every registered name that matches.
    """

    all: bool = False
    names: tuple[str, ...] = ()
    expression: str | None = None
    suite: str | None = None
    dataset: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    student: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for."""
        return self == Selection()


@dataclass(frozen=True)
class Selected:
    """One combo, its name, the arguments of `kdbench run` that select it alone, and what papers report for it."""

    name: str
    combo: Combo
    arguments: tuple[str, ...]
    published: tuple[Published, ...] = ()


def suites(catalog: Catalog) -> dict[str, list[str]]:
    """Combo names by suite, in order of registration."""
    found: dict[str, list[str]] = {}
    for entry in catalog.entries("combo"):
        for suite in entry.metadata.get("suites", ()):
            found.setdefault(suite, []).append(entry.name)
    return found


def left_out(catalog: Catalog, selection: Selection) -> dict[str, int]:
    """How many combos of which suite `all` passes over, because they are run on request only."""
    found: dict[str, int] = {}
    if selection.all:
        for entry in catalog.entries("combo"):
            if entry.metadata.get("on_request"):
                suite = next(iter(entry.metadata.get("suites", ())), entry.name)
                found[suite] = found.get(suite, 0) + 1
    return found


def select(catalog: Catalog, selection: Selection) -> list[Selected]:
    """The combos of a selection, in order of registration.

    Raises: UnknownName for a name, suite or axis value that nothing registered; UsageError where nothing is left.
    """
    if selection.empty:
        raise UsageError("nothing is selected", fix="kdbench run --all, or a name of: kdbench list combos")
    axes: dict[str, Any] = {kind: _named(catalog, kind, getattr(selection, kind)) for kind in AXES}
    selection = replace(selection, **axes)
    chosen = _registered(catalog, selection)
    if any(getattr(selection, kind) for kind in AXES):
        chosen = _along_axes(chosen, selection)
    if selection.expression:
        matches = compile_expression(selection.expression)
        chosen = [one for one in chosen if matches(one.name)]
    if not chosen:
        raise UsageError("the selection holds no combo", fix="kdbench list combos shows all of them")
    return chosen


def _named(catalog: Catalog, kind: Kind, values: tuple[str, ...]) -> tuple[str, ...]:
    """The registered names that an axis's values stand for, globs among them, in order of registration for each."""
    found: dict[str, None] = {}
    for value in values:
        matching = [entry.name for entry in catalog.entries(kind) if fnmatchcase(entry.name, value)]
        if not matching:
            catalog.find(kind, value)
        found |= dict.fromkeys(matching or [value])
    return tuple(found)


def _registered(catalog: Catalog, selection: Selection) -> list[Selected]:
    combos = [
        Selected(entry.name, entry.load(), (entry.name,), published_of(entry.metadata))
        for entry in catalog.entries("combo")
        if not (selection.all and entry.metadata.get("on_request"))
    ]
    if selection.suite is not None:
        known = suites(catalog)
        if selection.suite not in known:
            fix = "kdbench list suites"
            raise UnknownName(f"unknown suite {selection.suite!r}", did_you_mean(selection.suite, known), fix)
        combos = [one for one in combos if one.name in known[selection.suite]]
    if not selection.names:
        return combos
    for pattern in selection.names:
        if not any(_matches(one.name, pattern) for one in combos):
            known_names = [one.name for one in combos]
            raise UnknownName(
                f"unknown combo {pattern!r}",
                did_you_mean(pattern, known_names),
                "kdbench list combos shows all of them",
            )
    return [one for one in combos if any(_matches(one.name, pattern) for pattern in selection.names)]


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _along_axes(registered: list[Selected], selection: Selection) -> list[Selected]:
    chosen = registered
    before: list[Kind] = []
    for kind in AXES:
        if values := getattr(selection, kind):
            kept = [one for one in chosen if getattr(one.combo, kind) in values]
            there = {(_place(one, before), getattr(one.combo, kind)) for one in kept}
            bases: list[Selected] | list[None] = [None] if kind == "dataset" else chosen
            wanting = [(value, one) for value in values for one in bases if (_place(one, before), value) not in there]
            chosen = [*kept, *_composed(registered, wanting, kind, selection)]
            before.append(kind)
    return chosen


def _place(selected: Selected | None, axes: list[Kind]) -> tuple[str, ...]:
    """Where a combo lies in the product of the axes that were asked for so far."""
    return tuple(getattr(selected.combo, kind) for kind in axes) if selected else ()


def _composed(
    registered: list[Selected], wanting: Iterable[tuple[str, Selected | None]], kind: Kind, selection: Selection
) -> list[Selected]:
    """Combos that no plugin registered: each value of an axis in the place of what a combo has there.

    Where combos differ in their recipe alone, as in a comparison of optimisers, the first one's is taken, unless such
    combos were asked for. Where another recipe takes the place of theirs, they differ in nothing but the teacher's.
    """
    asked = bool(selection.recipe or selection.suite or selection.names)
    made: dict[bytes, Selected] = {}
    taken = {one.name for one in registered}
    for value, selected in wanting:
        base = selected.combo if selected else _for_new_dataset(value, selection)
        changes: dict[str, Any] = {kind: value} | ({"params": {}} if kind == "method" else {})
        combo = msgspec.structs.replace(base, **changes)
        known_by = combo
        if kind == "recipe":
            known_by = msgspec.structs.replace(combo, teacher_recipe=None)
        elif not asked:
            known_by = msgspec.structs.replace(combo, recipe="", teacher_recipe=None)
        key = msgspec.json.encode(known_by, order="deterministic")
        if key not in made:
            name = settings_text(combo.default_name, combo.params)
            name = f"{name}@{combo.recipe}" if name in taken else name
            taken.add(name)
            # Params have no axis: the combo that has them is told by its own arguments.
            own = (*selected.arguments, f"--{kind}", value) if selected and combo.params else _arguments(combo)
            made[key] = Selected(name, combo, own)
    return list(made.values())


def _for_new_dataset(dataset: str, selection: Selection) -> Combo:
    missing = [f"--{kind}" for kind in ("teacher", "student", "method") if not getattr(selection, kind)]
    if missing:
        raise UsageError(
            f"no combo is registered for dataset {dataset!r}",
            f"composing one needs {', '.join(missing)} too",
            f"kdbench run --dataset {dataset} --teacher cnn-l --student cnn-s --method scratch --method kd",
        )
    return Combo(
        dataset=dataset,
        teacher=selection.teacher[0],
        student=selection.student[0],
        method=selection.method[0],
        recipe=selection.recipe[0] if selection.recipe else "standard",
    )


def _arguments(combo: Combo) -> tuple[str, ...]:
    views = [f"{field}={value}" for field in ("teacher_view", "student_view") if (value := getattr(combo, field))]
    axes = (part for kind in AXES for part in (f"--{kind}", getattr(combo, kind)))
    return (*axes, *(part for view in views for part in ("--set", view)))
