import pytest

import kdbench
from kdbench.errors import UnknownName, UsageError
from kdbench.select import Selection, select, suites


def names(catalog, **selection):
    return [one.name for one in select(catalog, Selection(**selection))]


def test_all_selects_every_registered_combo_in_order(small_catalog):
    assert names(small_catalog, all=True) == [
        "digits/big->small/scratch",
        "digits/big->small/softened",
        "wine/big->small/scratch",
        "wine/big->small/softened",
    ]


def test_names_and_globs_select_combos(small_catalog):
    assert names(small_catalog, names=("wine/big->small/scratch", "digits/*/soft*")) == [
        "digits/big->small/softened",
        "wine/big->small/scratch",
    ]


def test_an_expression_filters(small_catalog):
    assert names(small_catalog, expression="wine and not scratch") == ["wine/big->small/softened"]


def test_a_suite_selects_its_combos(small_catalog):
    assert names(small_catalog, suite="wine") == ["wine/big->small/scratch", "wine/big->small/softened"]
    assert list(suites(small_catalog)) == ["all", "digits", "wine"]


def test_axes_filter_the_registered_combos(small_catalog):
    assert names(small_catalog, dataset=("digits",), method=("scratch",)) == ["digits/big->small/scratch"]


def test_a_method_without_combos_is_put_into_the_pairs_that_remain(small_catalog):
    assert names(small_catalog, dataset=("digits",), method=("scratch", "extra")) == [
        "digits/big->small/scratch",
        "digits/big->small/extra",
    ]


def test_a_student_without_combos_is_put_into_each_method(small_catalog):
    assert names(small_catalog, dataset=("digits",), student=("other",)) == [
        "digits/big->other/scratch",
        "digits/big->other/softened",
    ]


def test_another_recipe_makes_combos_of_another_name(small_catalog):
    chosen = select(small_catalog, Selection(dataset=("wine",), recipe=("fast",)))
    assert [one.name for one in chosen] == ["wine/big->small/scratch@fast", "wine/big->small/softened@fast"]
    assert {one.combo.recipe for one in chosen} == {"fast"}


def test_a_dataset_without_combos_takes_the_models_and_methods_given(small_catalog):
    assert names(
        small_catalog, dataset=("unused",), teacher=("big",), student=("small", "other"), method=("scratch", "extra")
    ) == [
        "unused/big->small/scratch",
        "unused/big->other/scratch",
        "unused/big->small/extra",
        "unused/big->other/extra",
    ]


def test_a_dataset_without_combos_asks_for_what_is_missing(small_catalog):
    with pytest.raises(UsageError, match="--teacher, --student, --method"):
        names(small_catalog, dataset=("unused",))


def test_a_composed_combo_knows_the_arguments_that_select_it_again(small_catalog):
    composed = select(small_catalog, Selection(dataset=("digits",), method=("extra",)))[0]
    axes = dict(zip(composed.arguments[::2], composed.arguments[1::2], strict=True))
    again = select(small_catalog, Selection(**{axis.removeprefix("--"): (value,) for axis, value in axes.items()}))
    assert [one.combo for one in again] == [composed.combo]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"names": ("digits/big->small/softend",)}, "unknown combo .*did you mean 'digits/big->small/softened'"),
        ({"names": ("nothing/*",)}, "unknown combo 'nothing/\\*'"),
        ({"suite": "digit"}, "unknown suite 'digit'.*did you mean 'digits'"),
        ({"dataset": ("digit",)}, "unknown dataset 'digit'.*did you mean 'digits'"),
        ({"teacher": ("bigg",)}, "unknown teacher 'bigg'.*did you mean 'big'"),
        ({"student": ("smal",)}, "unknown student 'smal'.*did you mean 'small'"),
        ({"method": ("scrach",)}, "unknown method 'scrach'.*did you mean 'scratch'"),
        ({"recipe": ("standart",)}, "unknown recipe 'standart'.*did you mean 'standard'"),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(small_catalog, selection, message):
    with pytest.raises(UnknownName, match=f"(?s){message}"):
        select(small_catalog, Selection(**selection))


def test_an_empty_selection_is_refused(small_catalog):
    with pytest.raises(UsageError, match="nothing is selected"):
        select(small_catalog, Selection())
    with pytest.raises(UsageError, match="holds no combo"):
        names(small_catalog, expression="cifar")


def test_a_composed_combo_is_not_repeated_for_every_recipe_unless_recipes_are_asked_for(small_catalog):
    for name, combo in kdbench.grid(
        methods=["scratch", "softened"], recipes=["fast"], dataset="digits", teacher="big", student="small"
    ):
        small_catalog.add("combo", f"{name}@fast", combo, "small", {"suites": ["recipes"]})

    def recipes(**selection):
        chosen = select(small_catalog, Selection(dataset=("digits",), student=("other",), **selection))
        return [(one.combo.method, one.combo.recipe) for one in chosen]

    assert recipes() == [("scratch", "standard"), ("softened", "standard")]
    assert recipes(recipe=("fast",)) == [("scratch", "fast"), ("softened", "fast")]
    assert recipes(suite="recipes") == [("scratch", "fast"), ("softened", "fast")]
    registered = select(small_catalog, Selection(dataset=("digits",), student=("small",)))
    assert len(registered) == 4


def test_a_recipe_of_no_combo_is_taken_once_where_combos_differ_in_theirs(small_catalog):
    """A comparison of optimisers, whose teachers have one recipe, is no second row of another recipe."""
    for name, combo in kdbench.grid(
        methods=["scratch"], recipes=["fast"], dataset="digits", teacher="big", student="small",
        teacher_recipe="standard",
    ):  # fmt: skip
        small_catalog.add("combo", f"{name}@fast", combo, "small", {})
    small_catalog.add("recipe", "slow", kdbench.Recipe(epochs=9), "small", {})
    small_catalog.add("recipe", "slower", kdbench.Recipe(epochs=10), "small", {})
    chosen = select(small_catalog, Selection(dataset=("digits",), student=("other",), recipe=("slow", "slower")))
    assert sorted((one.combo.method, one.combo.recipe, one.combo.teacher_recipe) for one in chosen) == [
        (method, recipe, None) for method in ("scratch", "softened") for recipe in ("slow", "slower")
    ]


def test_a_glob_on_an_axis_stands_for_all_that_match(small_catalog):
    every = [one.combo.method for one in select(small_catalog, Selection(dataset=("digits",), method=("*",)))]
    assert set(every) == {entry.name for entry in small_catalog.entries("method")}
    assert len(every) == len(set(every))
    with pytest.raises(UnknownName, match=r"unknown method 'x\*'"):
        select(small_catalog, Selection(method=("x*",)))


def test_axes_stand_for_the_product_of_their_values(small_catalog):
    """One dataset's combo of a method or recipe is no reason to pass over what was asked for on another."""
    combos = dict(kdbench.grid(methods=["extra"], recipes=["fast"], dataset="digits", teacher="big", student="small"))
    small_catalog.add("combo", "digits/extra", combos["digits/big->small/extra"], "small", {})

    def chosen(**selection):
        found = select(small_catalog, Selection(**selection))
        return {(one.combo.dataset, one.combo.method, one.combo.recipe) for one in found}

    assert chosen(dataset=("digits", "wine"), method=("extra",)) == {
        ("digits", "extra", "fast"),
        ("wine", "extra", "standard"),
    }
    methods = ("scratch", "extra")
    assert chosen(dataset=("digits",), method=methods, recipe=("standard",)) == {
        ("digits", method, "standard") for method in methods
    }
    assert chosen(method=("extra",)) == chosen(recipe=("fast",)) == {("digits", "extra", "fast")}


def test_combos_with_parameters_keep_them_and_each_has_a_name_and_a_command_of_its_own(small_catalog):
    for name, params in (("warm", {"temperature": 2}), ("hot", {"temperature": 8})):
        combo = kdbench.Combo(
            dataset="digits", teacher="big", student="small", method="softened", recipe="standard", params=params
        )
        small_catalog.add("combo", f"digits/{name}", combo, "small", {})
    selection = Selection(dataset=("digits",), student=("other",), method=("softened",), recipe=("fast",))
    chosen = select(small_catalog, selection)
    assert [one.name for one in chosen] == [
        "digits/big->other/softened",
        "digits/big->other/softened(temperature=2)",
        "digits/big->other/softened(temperature=8)",
    ]
    for one in chosen[1:]:
        first, *axes = one.arguments
        values = {axis.removeprefix("--"): (value,) for axis, value in zip(axes[::2], axes[1::2], strict=True)}
        again = select(small_catalog, Selection(names=(first,), **values))
        assert [other.combo for other in again] == [one.combo]
