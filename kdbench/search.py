"""Where a hyper-parameter is searched: what a method declares, and what follows from its type and default otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from kdbench.errors import InvalidParameter

_FACTOR, _TEMPERATURE_FACTOR = 10, 4
"""Undeclared parameters are searched from default / factor to default · factor; a temperature, whose effect fades at
both ends, over a smaller range."""
_INSET = 0.01
"""How far from a bound that is excluded a range ends, as a share of the range."""


@dataclass(frozen=True)
class Search:
    """Where `kdbench tune` looks for a hyper-parameter: `Annotated[float, Meta(gt=0), Search(1, 16, log=True)]`.

    Args:
        low, high: both ends of a range, included; whole numbers for an int.
        log: draw the logarithm evenly; `low` is above 0 then.
        choices: a few values instead of a range.
        when: (name, value) of a parameter declared before: the one that is annotated counts only where that one has
            this value. It is searched there alone, and `Method` refuses another value than the default elsewhere.
        fixed: not searched: it stays at its default, or at what `--set` gives.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[str, Any] | None = None
    fixed: bool = False
    why: str = "kept as it is"
    """Why it is not searched, where it is not."""

    def __str__(self) -> str:
        """`0.4 to 40, log` or `kd | dkd`."""
        if self.fixed:
            return f"not searched: {self.why}"
        condition = f", where {self.when[0]}={self.when[1]}" if self.when else ""
        if self.choices:
            return " | ".join(map(str, self.choices)) + condition
        ends = ("nothing" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{' to '.join(ends)}{', log' if self.log else ''}{condition}"


def search_space(name: str, hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Search]:
    """Where each hyper-parameter is searched, in order of declaration; those that are not say why.

    Args:
        name: the method's, for errors.
        hints: the type of each hyper-parameter, with its `Meta` and `Search`.
        defaults: of each; None where it has none.

    Raises: InvalidParameter for a declared range that is none, or that does not hold the default.
    """
    space = {}
    for parameter, hint in hints.items():
        declared = [each for each in _annotations(hint) if isinstance(each, Search)]
        default = defaults.get(parameter)
        space[parameter] = declared[-1] if declared else _automatic(parameter, hint, default)
        if declared:
            _check(f"method {name}, parameter {parameter!r}", declared[-1], hint, default, set(space) - {parameter})
    return space


def conditions(hints: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """The hyper-parameters that count only beside a value of another one: its name and that value."""
    declared = {name: [each for each in _annotations(hint) if isinstance(each, Search)] for name, hint in hints.items()}
    return {name: found[-1].when for name, found in declared.items() if found and found[-1].when is not None}


def without_effect(conditions: Mapping[str, tuple[str, Any]], given: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """The hyper-parameters that cannot count beside the others as they are given, with their conditions."""
    return {name: (other, wanted) for name, (other, wanted) in conditions.items() if given.get(other, wanted) != wanted}


def refuse_without_effect(
    name: str, conditions: Mapping[str, tuple[str, Any]], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Refuse a value that is not the default where it cannot count.

    Args:
        name: the method's, for errors.
        conditions: as `conditions` finds them.
        given: the value of every hyper-parameter.
        defaults: theirs.

    Raises: InvalidParameter.
    """
    for parameter, (other, wanted) in without_effect(conditions, given).items():
        if given[parameter] != defaults.get(parameter, given[parameter]):
            value, found, right = (msgspec.json.encode(e).decode() for e in (given[parameter], given[other], wanted))
            raise InvalidParameter(
                f"{name}: {parameter}={value} has no effect",
                f"it counts only where {other}={right}, and here {other}={found}",
                f"leave {parameter} out, or set {other}={right}",
            )


def plain_type(hint: Any) -> Any:
    """The type itself, without annotations and without None."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        inner = [each for each in get_args(hint) if each is not NoneType]
        if len(inner) == 1:
            return plain_type(inner[0])
    return hint


def _annotations(hint: Any) -> Iterator[Any]:
    """What annotates the type, the innermost first; through `X | None` too."""
    if get_origin(hint) is Annotated:
        yield from _annotations(get_args(hint)[0])
        yield from hint.__metadata__
    elif get_origin(hint) in {Union, UnionType}:
        for each in get_args(hint):
            yield from _annotations(each)


def bounds(hint: Any) -> tuple[float | None, float | None, bool, bool]:
    """(low, high, low excluded, high excluded) as the type's `Meta` has them."""
    low = high = None
    open_low = open_high = False
    for meta in _annotations(hint):
        if isinstance(meta, Meta):
            low, open_low = (meta.gt, True) if meta.gt is not None else (low, open_low)
            low, open_low = (meta.ge, False) if meta.ge is not None else (low, open_low)
            high, open_high = (meta.lt, True) if meta.lt is not None else (high, open_high)
            high, open_high = (meta.le, False) if meta.le is not None else (high, open_high)
    return low, high, open_low, open_high


def _automatic(name: str, hint: Any, default: Any) -> Search:
    plain = plain_type(hint)
    if plain is bool:
        return Search(choices=(False, True))
    if get_origin(plain) is Literal:
        return Search(choices=get_args(plain))
    if plain not in {int, float}:
        return Search(fixed=True, why="it is no number")
    if plain is int:  # epochs, steps, widths: equal numbers of trials would not be equal budgets
        return Search(fixed=True, why="a count often costs time; its range must be declared")
    if default is None:
        may_be_off = any(NoneType in get_args(part) for part in (hint, *get_args(hint)))
        why = "it is off by default" if may_be_off else "it has no default; its range must be declared"
        return Search(fixed=True, why=why)
    low, high, open_low, open_high = bounds(hint)
    if low is not None and high is not None and (high - low <= 1 or default <= 0):
        inset = _INSET * (high - low)
        least, most = low + inset * open_low, high - inset * open_high
        if least <= default <= most and least < most:
            return Search(least, most)
    if default <= 0:
        return Search(fixed=True, why=f"nothing follows from a default of {default:g}")
    factor = _TEMPERATURE_FACTOR if "temperature" in name else _FACTOR
    least, most = default / factor, default * factor
    # An end that is excluded is not reached: a range that would pass it stops halfway there.
    if low is not None and (least < low or (open_low and least == low)):
        least = (low + default) / 2 if open_low else low
    if high is not None and (most > high or (open_high and most == high)):
        most = (high + default) / 2 if open_high else high
    if least >= most:
        return Search(fixed=True, why="its bounds leave one value")
    return Search(least, most, log=least > 0)


def _check(what: str, search: Search, hint: Any, default: Any, earlier: set[str]) -> None:
    problem = _problem(search, hint, default, earlier)
    if problem:
        raise InvalidParameter(f"{what}: {problem}", f"declared: {search}", "mend its kdbench.Search in the method")


def _problem(search: Search, hint: Any, default: Any, earlier: set[str]) -> str:
    if search.when is not None and search.when[0] not in earlier:
        return f"it counts under a condition on {search.when[0]!r}, which is not declared before it"
    if search.fixed:
        return ""
    if search.choices:
        return "" if default in search.choices else f"its default {default!r} is not among its choices"
    if search.low is None or search.high is None:
        return "a search range has both ends, or choices"
    if plain_type(hint) not in {int, float}:
        return "a range is for numbers; give choices"
    if plain_type(hint) is int and (search.low % 1 or search.high % 1):
        return "the range of a whole number ends at whole numbers"
    if not search.low < search.high or (search.log and search.low <= 0):
        return "its search range is empty" if not search.low < search.high else "a logarithmic range lies above 0"
    low, high, open_low, open_high = bounds(hint)
    below = low is not None and (search.low <= low if open_low else search.low < low)
    above = high is not None and (search.high >= high if open_high else search.high > high)
    if below or above:
        return "its search range leaves the bounds of its type"
    if default is None or not search.low <= default <= search.high:
        return f"its default {default!r} lies outside its search range"
    return ""
