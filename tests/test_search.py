"""Where a hyper-parameter is searched: what is declared, and what follows otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

import kdbench
from kdbench.errors import InvalidParameter
from kdbench.search import Search, search_space


def space(hint: Any, default: Any) -> Search:
    return search_space("m", {"p": hint}, {"p": default})["p"]


@pytest.mark.parametrize(
    ("hint", "default", "expected"),
    [
        (float, 4.0, Search(0.4, 40, log=True)),
        (Annotated[float, kdbench.Meta(gt=0)], 4.0, Search(0.4, 40, log=True)),
        (Annotated[float, kdbench.Meta(ge=2, le=10)], 4.0, Search(2, 10, log=True)),
        (Annotated[float, kdbench.Meta(gt=2, lt=10)], 4.0, Search(3, 7, log=True)),
        (Annotated[float, kdbench.Meta(ge=0, le=1)], 0.9, Search(0, 1)),
        (Annotated[float, kdbench.Meta(ge=0, lt=1)], 0.5, Search(0, 0.99)),
        (Annotated[float, kdbench.Meta(gt=0, lt=1)], 1e-7, Search(1e-8, 1e-6, log=True)),
        (Annotated[float, kdbench.Meta(gt=0, lt=1)], 0.999, Search(0.0999, 0.9995, log=True)),
        (Annotated[float, kdbench.Meta(ge=-2, le=2)], 0.0, Search(-2, 2)),
        (bool, False, Search(choices=(False, True))),
        (Literal["kd", "dkd"], "kd", Search(choices=("kd", "dkd"))),
        (Annotated[float, kdbench.Meta(gt=0)] | None, 4.0, Search(0.4, 40, log=True)),
    ],
)
def test_a_range_follows_from_type_bounds_and_default(hint, default, expected):
    found = space(hint, default)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high)) or found == expected
    assert (found.log, found.choices, found.fixed) == (expected.log, expected.choices, False)


@pytest.mark.parametrize(
    ("hint", "default", "why"),
    [
        (str, "last", "no number"),
        (tuple[str, ...], ("last",), "no number"),
        (float, 0.0, "default of 0"),
        (Annotated[float, kdbench.Meta(le=0)], -3.0, "default of -3"),
        (float | None, None, "off by default"),
        (Annotated[float | None, kdbench.Meta(gt=0)], None, "off by default"),
        (Annotated[float, kdbench.Meta(gt=0)], None, "has no default"),
        (Annotated[float, kdbench.Meta(ge=1, le=1)], 1.0, "one value"),
        (Annotated[int, kdbench.Meta(ge=1)], 20, "a count often costs time"),
    ],
)
def test_what_has_no_range_is_not_searched_and_says_why(hint, default, why):
    found = space(hint, default)
    assert found.fixed
    assert why in found.why


def test_a_temperature_is_searched_over_a_smaller_range_than_a_weight():
    positive = Annotated[float, kdbench.Meta(gt=0)]
    found = search_space(
        "m", {"norm_temperature": positive, "weight": positive}, {"norm_temperature": 4.0, "weight": 4.0}
    )
    assert found == {"norm_temperature": Search(1, 16, log=True), "weight": Search(0.4, 40, log=True)}


class Declared(kdbench.Method):
    """Declares."""

    base: Annotated[Literal["a", "b"], kdbench.Search(fixed=True)] = "a"
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    beta: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.5, 16, when=("base", "b"))] = 8.0


class Inherits(Declared):
    """Declares one anew."""

    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(2, 8)] = 4.0


def test_a_method_declares_its_search_space_beside_the_bounds():
    assert Declared.search_space() == {
        "base": Search(fixed=True),
        "temperature": Search(1, 16, log=True),
        "beta": Search(0.5, 16, when=("base", "b")),
    }
    assert Inherits.search_space() == Declared.search_space() | {"temperature": Search(2, 8)}
    assert Declared(temperature=0.2).params["temperature"] == 0.2, "a value outside the search range may be set"


def test_a_value_where_it_has_no_effect_is_refused_with_what_to_drop():
    with pytest.raises(InvalidParameter, match=r'(?s)Declared: beta=2.0 has no effect.*base="b".*leave beta out'):
        Declared(beta=2.0)
    with pytest.raises(InvalidParameter, match="Inherits: beta=2"):
        Inherits(beta=2.0, temperature=3)
    assert Declared(beta=8).beta == 8, "the default may be named"
    assert Declared(beta=2.0, base="b").beta == 2


@pytest.mark.parametrize(
    ("method", "params", "count"),
    [
        ("crd", {"negatives": 100, "pool": "batch"}, {"pool": "bank"}),
        ("crd", {"momentum": 0.1, "pool": "batch"}, {"pool": "bank"}),
        ("low_rank", {"rank_ratio": 0.5, "energy": 0.9}, {"energy": None}),
        ("distil_then_quantise", {"calibration": 64, "scheme": "dynamic"}, {"scheme": "static"}),
        ("lskd", {"alpha": 2.0}, {"base": "dkd"}),
        ("lskd", {"beta": 2.0}, {"base": "dkd"}),
    ],
)
def test_parameters_that_another_one_switches_off_are_refused(catalog, method, params, count):
    made, name, other = catalog.find("method", method).load(), next(iter(params)), next(iter(count))
    with pytest.raises(InvalidParameter, match=rf"(?s){name}=.* has no effect.*leave {name} out, or set {other}="):
        made(**params)
    made(**params | count)
    made(**params | {name: made.defaults()[name]})


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (Search(2, 8), "lies outside its search range"),
        (Search(0, 8), "leaves the bounds of its type"),
        (Search(0.5, 200), "leaves the bounds of its type"),
        (Search(8, 0.5), "range is empty"),
        (Search(0.5), "both ends"),
        (Search(choices=(2.0, 3.0)), "not among its choices"),
        (Search(0.5, 4, when=("other", 1)), "condition on 'other'"),
        (Search(fixed=True, when=("other", 1)), "condition on 'other'"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused_by_name(search, message):
    with pytest.raises(InvalidParameter, match=f"(?s)method m, parameter 'p': .*{message}"):
        space(Annotated[float, kdbench.Meta(gt=0, le=100), search], 1.0)


@pytest.mark.parametrize("search", [Search(0, 4, log=True), Search(0.5, 4)])
def test_ranges_of_whole_numbers_and_logarithms_are_checked(search):
    with pytest.raises(InvalidParameter, match=r"whole number|above 0"):
        space(Annotated[int, search], 1)


def test_every_registered_method_has_a_search_space_that_can_be_used(catalog):
    for entry in catalog.entries("method"):
        method = entry.load()
        assert list(method.search_space()) == list(method.defaults()), entry.name


def test_a_method_that_learns_from_a_teacher_has_something_to_search(catalog):
    for name in ("kd", "logit_mse", "fitnet", "dkd", "dist", "lskd", "at", "sp", "rkd", "vid", "crd"):
        found = catalog.find("method", name).load().search_space()
        assert any(not search.fixed for search in found.values()), name
