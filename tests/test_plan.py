from typing import Annotated

import pytest

import kdbench
from kdbench.commands.method_page import methods_command
from kdbench.errors import DeviceRefused, InvalidParameter, KdbenchError, MethodRefused, UnknownName, UsageError
from kdbench.plan import Repeats, make_plan, varied
from kdbench.select import Selection

EVERYTHING = Selection(all=True)


def runs(catalog, *settings, selection=EVERYTHING, **repeats):
    return make_plan(catalog, selection, settings, Repeats(**repeats)).runs


def test_every_combo_is_run_at_every_seed_with_methods_side_by_side(small_catalog):
    planned = runs(small_catalog, seeds=(0, 1))
    assert [(run.combo.dataset, run.seed, run.combo.method) for run in planned] == [
        (dataset, seed, method)
        for dataset in ("digits", "wine")
        for seed in (0, 1)
        for method in ("scratch", "softened")
    ]


def test_folds_multiply_the_runs(small_catalog):
    planned = runs(small_catalog, seeds=(0,), folds=3, selection=Selection(names=("digits/big->small/scratch",)))
    assert [(run.fold, run.folds) for run in planned] == [(0, 3), (1, 3), (2, 3)]
    assert len({run.teacher_id for run in planned}) == 3


def test_run_ids_are_stable_and_differ_with_what_defines_the_run(small_catalog):
    first = [run.run_id for run in runs(small_catalog)]
    assert first == [run.run_id for run in runs(small_catalog)]
    assert len(set(first)) == len(first)
    for changed in (
        runs(small_catalog, "softened.temperature=2", "recipe.lr=0.1"),
        runs(small_catalog, deterministic=False),
        runs(small_catalog, device="cuda"),
        runs(small_catalog, devices=2),
        runs(small_catalog, "teacher_recipe.epochs=7"),
    ):
        assert not set(first) & {run.run_id for run in changed}


def test_a_run_is_the_same_whether_its_combo_or_a_setting_gives_a_parameter(small_catalog):
    combo = kdbench.Combo(
        dataset="digits", teacher="big", student="small", method="softened", recipe="standard",
        params={"temperature": 2},
    )  # fmt: skip
    small_catalog.add("combo", "digits/warm", combo, "small", {})
    (registered,) = make_plan(small_catalog, Selection(names=("digits/warm",)), [], Repeats(seeds=(0,))).runs
    names = ("digits/warm", "digits/big->small/softened")
    both = make_plan(small_catalog, Selection(names=names), ["softened.temperature=2"], Repeats(seeds=(0,))).runs
    assert [run.run_id for run in both] == [registered.run_id]


def test_ids_know_the_kind_of_device_and_not_its_number(small_catalog):
    run = runs(small_catalog)[0]
    first, second = (runs(small_catalog, device=device)[0] for device in ("cuda", "cuda:1"))
    assert (first.run_id, first.teacher_id) == (second.run_id, second.teacher_id) != (run.run_id, run.teacher_id)


def test_a_model_made_from_the_teacher_needs_a_pair_that_shares_a_view(small_catalog):
    class Compresses(kdbench.Method):
        student_from_teacher = True

    small_catalog.add("method", "compresses", Compresses, "small", {})
    shared, apart = (
        kdbench.Combo(
            dataset="digits", teacher="big", student="small", method="compresses", recipe="standard",
            teacher_view="left", student_view=view,
        )
        for view in ("left", "right")
    )  # fmt: skip
    small_catalog.add("combo", "shared", shared, "small", {})
    (run,) = runs(small_catalog, seeds=(0,), selection=Selection(names=("shared",)))
    assert run.student_source == "teacher"
    small_catalog.add("combo", "apart", apart, "small", {})
    with pytest.raises(MethodRefused, match=r"'compresses' cannot run combo 'apart'\n.*view 'left'.*is 'right'"):
        runs(small_catalog, selection=Selection(names=("apart",)))


def test_a_method_that_takes_over_the_training_says_whether_processes_can_share_it(small_catalog):
    class TakesOver(kdbench.Method):
        def fit(self, trainer):
            trainer.run_epochs()

    small_catalog.add("method", "whole", TakesOver, "small", {})
    selection = Selection(dataset=("digits",), method=("whole",))
    assert runs(small_catalog, selection=selection)
    with pytest.raises(MethodRefused, match=r"method 'whole' cannot run combo .* with --devices 2"):
        runs(small_catalog, selection=selection, devices=2)
    TakesOver.parallel_fit = True
    assert {run.devices for run in runs(small_catalog, selection=selection, devices=2)} == {2}


def test_float16_is_refused_on_the_cpu_and_leaves_other_combos_alone(small_catalog):
    with pytest.raises(DeviceRefused, match="cannot run on the CPU in precision '16-mixed'"):
        runs(small_catalog, "precision=16-mixed")
    assert runs(small_catalog, "precision=16-mixed", device="cuda")
    small_catalog.add("recipe", "half", kdbench.Recipe(precision="16-mixed"), "small", {})
    half = kdbench.Combo(dataset="digits", teacher="big", student="small", method="scratch", recipe="half")
    small_catalog.add("combo", "half", half, "small", {})
    plan = make_plan(small_catalog, EVERYTHING)
    assert len(plan.runs) == 4 * 5
    assert [(one.name, one.fix) for one in plan.not_run] == [
        ("half", "--set recipe.precision=bf16-mixed, or --device cuda")
    ]


def test_a_default_given_in_words_is_the_same_run(small_catalog):
    assert runs(small_catalog) == tuple(kdbench_run for kdbench_run in runs(small_catalog, seeds=(0, 1, 2, 3, 4)))
    plain, explicit = runs(small_catalog), runs(small_catalog, "temperature=4.0")
    assert [run.run_id for run in plain] == [run.run_id for run in explicit]


def test_settings_reach_the_method_the_recipe_and_the_combo(small_catalog):
    chosen = Selection(names=("digits/big->small/softened",))
    (run,) = runs(
        small_catalog,
        "temperature=2",
        "epochs=9",
        "augment=flip,crop",
        "teacher_recipe.optimizer=adam",
        "teacher_checkpoint=/models/t.safetensors",
        selection=chosen,
        seeds=(0,),
    )
    assert run.params == {"temperature": 2.0, "layer": "last"}
    assert run.overrides == {"temperature": 2.0}
    assert (run.recipe.epochs, run.recipe.augment) == (9, ("flip", "crop"))
    assert run.recipe_overrides == {"epochs": 9, "augment": ("flip", "crop")}
    assert run.teacher_recipe.optimizer == "adam"
    assert run.teacher_recipe.epochs == 3, "the recipe's changes are the student's"
    assert run.teacher_recipe_label == "standard(optimizer=adam)"
    assert run.combo.teacher_checkpoint == "/models/t.safetensors"


def test_a_combos_name_tells_the_views_that_were_set(small_catalog):
    planned = runs(small_catalog, "student_view=right", seeds=(0,))
    assert {(run.name, run.combo.student_view) for run in planned} == {
        (f"{dataset}/big->right:small/{method}", "right")
        for dataset in ("digits", "wine") for method in ("scratch", "softened")
    }  # fmt: skip


@pytest.mark.parametrize(("written", "value"), [(".05", 0.05), ("1.", 1.0), ("-.5e1", -5.0), ("+2.5", 2.5), ("5", 5.0)])
def test_numbers_are_read_as_people_write_them(small_catalog, written, value):
    class Shifts(kdbench.Method):
        shift: float = 0.0

    small_catalog.add("method", "shifts", Shifts, "small", {})
    chosen = Selection(dataset=("wine",), method=("shifts",))
    (run,) = runs(small_catalog, f"shift={written}", selection=chosen, seeds=(0,))
    assert run.params == {"shift": value}


def test_a_setting_qualified_by_a_method_reaches_that_method_alone(small_catalog):
    selection = Selection(dataset=("digits",), method=("softened", "extra"))
    planned = runs(small_catalog, "extra.temperature=9", selection=selection, seeds=(0,))
    assert {run.combo.method: run.params["temperature"] for run in planned} == {"softened": 4.0, "extra": 9.0}


def test_a_setting_for_all_passes_by_a_method_in_which_it_would_have_no_effect(catalog):
    """lskd has dkd's weight of the label, and counts it where it is combined with dkd alone."""

    def alphas(*settings: str, methods: tuple[str, ...] = ("kd", "lskd")) -> dict[str, float]:
        selection = Selection(dataset=("digits",), teacher=("mlp-l",), student=("mlp-s",), method=methods)
        planned = make_plan(catalog, selection, settings, Repeats(seeds=(0,))).runs
        return {run.combo.method: run.params["alpha"] for run in planned}

    default = alphas()["lskd"]
    assert alphas("alpha=0.25") == {"kd": 0.25, "lskd": default}
    assert alphas("alpha=0.25", "lskd.base=dkd") == {"kd": 0.25, "lskd": 0.25}
    assert alphas("alpha=0.5", "alpha=0.25") == {"kd": 0.25, "lskd": default}
    with pytest.raises(
        InvalidParameter, match=r"alpha=0.25 has no effect\n  in 'lskd' it counts only where base=\"dkd\""
    ):
        alphas("alpha=0.25", methods=("lskd",))
    with pytest.raises(InvalidParameter, match=r"alpha=0.25 has no effect"):
        alphas("lskd.alpha=0.25")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("temperatur=2", "nothing selected has 'temperatur'.*did you mean 'temperature'"),
        ("softened.temperatur=2", "method 'softened' has no parameter 'temperatur'.*did you mean 'temperature'"),
        ("temperature=hot", "method 'softened'.*Expected `float`"),
        ("recipe.epoch=2", "recipe.epoch=2: no such field.*did you mean 'epochs'"),
        ("epochs=0", "epochs=0.*>= 1"),
        ("lr=-1", "lr=-1.*> 0"),
        ("optimizer=sdg", "optimizer=sdg.*Invalid enum value"),
        ("kdd.temperature=2", "nothing selected has 'temperature' in 'kdd'"),
        ("temperature", "is not key=value"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name(small_catalog, setting, message):
    with pytest.raises(InvalidParameter, match=f"(?s){message}"):
        runs(small_catalog, setting)


def test_one_fold_is_refused(small_catalog):
    with pytest.raises(UsageError, match="at least 2 folds"):
        runs(small_catalog, folds=1)


def test_the_command_of_a_run_selects_it_alone(small_catalog):
    planned = runs(small_catalog, "temperature=2", seeds=(3,), selection=Selection(names=("wine/*softened",)))
    assert planned[0].command == "kdbench run 'wine/big->small/softened' --set temperature=2 --device cpu --seed 3"


def test_a_method_that_cannot_serve_the_task_is_refused_by_name(small_catalog):
    small_catalog.add("dataset", "pairs", "nowhere:factory", "small", {"task": "retrieval"})
    selection = Selection(dataset=("pairs",), teacher=("big",), student=("small",), method=("softened",))
    with pytest.raises(MethodRefused, match=r"method 'softened' cannot run combo 'pairs/big->small/softened'"):
        make_plan(small_catalog, selection)


def test_a_method_that_cannot_serve_the_task_is_left_out_and_told_beside_one_that_can(small_catalog):
    class Ranks(kdbench.Method):
        tasks = ("retrieval",)

    small_catalog.add("method", "ranks", Ranks, "small", {})
    plan = make_plan(small_catalog, Selection(dataset=("digits",), method=("scratch", "ranks")))
    assert {run.combo.method for run in plan.runs} == {"scratch"}
    ((name, reason),) = [(one.name, one.reason) for one in plan.not_run]
    assert name == "digits/big->small/ranks"
    assert "it serves retrieval" in reason


def test_a_combo_whose_parts_nobody_registered_is_left_out_and_told(small_catalog):
    broken = kdbench.Combo(dataset="digits", teacher="nobody", student="small", method="scratch", recipe="standard")
    small_catalog.add("combo", "digits/nobody->small/scratch", broken, "small", {})
    plan = make_plan(small_catalog, EVERYTHING)
    assert len(plan.runs) == 4 * 5
    assert [(one.name, one.reason) for one in plan.not_run] == [
        ("digits/nobody->small/scratch", "unknown teacher 'nobody'")
    ]
    with pytest.raises(UnknownName, match="unknown teacher 'nobody'"):
        make_plan(small_catalog, Selection(names=("digits/nobody->small/scratch",)))


def test_a_model_whose_library_is_missing_is_left_out_with_the_command_that_installs_it(small_catalog):
    metadata = {"requires": ("no_such_library",), "extra": "foo"}
    small_catalog.add("student", "lacking", "nowhere:factory", "small", metadata)
    plan = make_plan(small_catalog, Selection(dataset=("digits",), student=("lacking",)))
    assert not plan.runs
    assert [(one.name, one.fix) for one in plan.not_run] == [("lacking", "pip install 'kdbench[foo]'")]


def test_a_hyper_parameter_without_a_default_is_asked_for_and_then_taken(small_catalog):
    class Strong(kdbench.Method):
        """Needs to be told."""

        strength: float
        layers: int = 2

        def loss(self, batch, student, teacher):
            return self.strength * batch.cross_entropy(student.logits)

    small_catalog.add("method", "strong", Strong, "small", {})
    selection = Selection(dataset=("digits",), teacher=("big",), student=("small",), method=("strong",))
    with pytest.raises(InvalidParameter, match=r"method 'strong'.*required field `strength`"):
        make_plan(small_catalog, selection)
    (run,) = runs(small_catalog, "strong.strength=2", selection=selection, seeds=(0,))
    assert (run.params, run.overrides) == ({"strength": 2.0, "layers": 2}, {"strength": 2.0})
    assert Strong.defaults() == {"strength": None, "layers": 2}
    page = methods_command(small_catalog, ("strong",), as_json=False)
    assert [line.split()[:3] for line in page.splitlines() if "strength   " in line] == [
        ["strength", "float", "required"]
    ]


def test_params_that_a_plugin_registered_wrongly_are_told_as_the_plugins_fault(small_catalog):
    combo = kdbench.Combo(
        dataset="digits", teacher="big", student="small", method="softened", recipe="standard", params={"tau": 1}
    )
    small_catalog.add("combo", "wrong", combo, "small", {})
    with pytest.raises(KdbenchError, match="combo 'wrong' was registered with params that cannot be used"):
        make_plan(small_catalog, Selection(names=("wrong",)))


def test_metrics_of_the_model_are_asked_for_by_the_command_and_by_methods(small_catalog):
    class Measured(kdbench.Method):
        strength: float = 0.5

        @property
        def measures(self):
            return (f"strong:{self.strength:g}",)

    def factory(text="1"):
        if not text.replace(".", "").isdigit():
            raise InvalidParameter(f"strong:{text}: no number")
        return lambda model, inputs, labels: float(text)

    small_catalog.add("metric", "strong", factory, "small", {"of": "model", "scheme": True})
    small_catalog.add("metric", "plain", lambda probabilities, labels: 0.0, "small", {})
    small_catalog.add("method", "measured", Measured, "small", {})
    selection = Selection(dataset=("digits",), method=("measured", "scratch"))
    own = {run.combo.method: run for run in runs(small_catalog, "strength=0.25", selection=selection, seeds=(0,))}
    assert (own["measured"].measures, own["scratch"].measures) == (("strong:0.25",), ())
    asked = runs(small_catalog, selection=selection, seeds=(0,), measures=("strong:2", "strong"))
    measures = {run.combo.method: run.measures for run in asked}
    assert measures == {"measured": ("strong:2", "strong", "strong:0.5"), "scratch": ("strong:2", "strong")}
    assert not {run.run_id for run in asked} & {run.run_id for run in runs(small_catalog, selection=selection)}
    assert "--measure strong:2 --measure strong " in asked[0].command
    for name, error in (("strong:x", InvalidParameter), ("plain", UsageError), ("weak", UnknownName)):
        with pytest.raises(error, match=name):
            runs(small_catalog, selection=selection, measures=(name,))


class Levels(kdbench.Method):
    """A method with lists of text and of numbers."""

    layers: tuple[str, ...] = ("last",)
    temperatures: tuple[Annotated[float, kdbench.Meta(gt=0)], ...] = (2.0, 4.0)


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("layers=first,last", "layers", ["first", "last"]),
        ("levels.layers=first, last", "layers", ["first", "last"]),
        ("layers=middle", "layers", ["middle"]),
        ('layers=["first","last"]', "layers", ["first", "last"]),
        ("temperatures=1,2.5,3", "temperatures", [1.0, 2.5, 3.0]),
        ("temperatures=[1,2]", "temperatures", [1.0, 2.0]),
        ("temperatures=7", "temperatures", [7.0]),
    ],
)
def test_a_list_is_set_by_its_items_with_commas_or_as_json(small_catalog, setting, name, value):
    small_catalog.add("method", "levels", Levels, "small", {})
    (run, *_) = runs(small_catalog, setting, selection=Selection(method=("levels",)))
    assert list(run.params[name]) == value


@pytest.mark.parametrize("setting", ["temperatures=1,cold", "temperatures=1,-2"])
def test_an_item_of_a_list_that_cannot_be_used_is_refused(small_catalog, setting):
    small_catalog.add("method", "levels", Levels, "small", {})
    with pytest.raises(InvalidParameter, match=r"method 'levels'.*temperatures\[1\]"):
        runs(small_catalog, setting, selection=Selection(method=("levels",)))


def test_a_varied_run_is_the_one_that_settings_would_make(small_catalog):
    chosen = Selection(names=("digits/big->small/softened",))
    (base,) = runs(small_catalog, selection=chosen, seeds=(0,))
    (expected,) = runs(small_catalog, "softened.temperature=2.5", "recipe.lr=0.2", selection=chosen, seeds=(0,))
    method = small_catalog.find("method", "softened").load()
    made = varied(base, method, {"temperature": 2.5}, {"lr": 0.2})
    assert made.run_id == expected.run_id
    assert (made.overrides, made.recipe_overrides) == ({"temperature": 2.5}, {"lr": 0.2})
    assert made.command == f"{base.command} --set softened.temperature=2.5 --set recipe.lr=0.2"
    assert varied(base, method, {}, {}).run_id == base.run_id
    assert varied(base, method, {"temperature": 4.0}, {}).overrides == {}


def test_a_trial_is_another_run_than_the_one_that_is_scored_on_the_test_split(small_catalog):
    (base, *_) = runs(small_catalog, selection=Selection(method=("softened",)))
    method = small_catalog.find("method", "softened").load()
    trial = varied(base, method, {}, {}, trial=True)
    assert trial.run_id != base.run_id
    assert trial.teacher_id == base.teacher_id
