"""Models and trainings beside a run's own: made by name, trained inside the run, put in the teacher's place."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Catalog, Entry
from kdbench.data import DatasetInfo
from kdbench.engine.checkpoints import weights_fingerprint
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.models import Maker, Side, inspect_model
from kdbench.engine.run import train_and_measure
from kdbench.engine.signals import LiveTeacher, NoTeacher, StoredTeacher
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.errors import MethodRefused, ModelMismatch, PluginError, UnknownName
from kdbench.method import Method, ModelInfo, Pair
from kdbench.plan import Repeats, make_plan
from kdbench.select import Selection

ITEMS, CLASSES = 40, 3
INFOS = {"student": DatasetInfo("made up", "multiclass", CLASSES, (4,), ITEMS),
         "teacher": DatasetInfo("made up", "multiclass", CLASSES, (6,), ITEMS)}  # fmt: skip


class Plain(Method):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


class Taught(Method):
    needs = kdbench.needs(logits=True)

    def loss(self, batch, student, teacher):
        return {"kd": kdbench.kernels.kd_kl(student.logits, teacher.logits)}


def network(width: int, info: DatasetInfo) -> nn.Module:
    return nn.Sequential(nn.Linear(info.input_shape[0], width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, CLASSES))


def views(seed: int = 0, items: int = ITEMS) -> Views:
    stream = torch.Generator().manual_seed(seed)
    inputs = (torch.randn(items, INFOS[side].input_shape[0], generator=stream) for side in ("student", "teacher"))
    return Views(*inputs, torch.arange(items) % CLASSES)


def maker(seed: int = 0) -> Maker:
    catalog, data = Catalog(), views()
    catalog.add("student", "middle", partial(network, 12), "tests", {})
    entries = {"student": Entry("student", "small", partial(network, 8), "tests"),
               "teacher": Entry("teacher", "large", partial(network, 16), "tests")}  # fmt: skip
    return Maker(catalog, {"student": Side(entries["student"], INFOS["student"], data.student[:2]),
                           "teacher": Side(entries["teacher"], INFOS["teacher"], data.teacher[:2])}, seed)  # fmt: skip


def pair(**options: Any) -> Pair:
    torch.manual_seed(5)
    student, teacher = network(8, INFOS["student"]), network(16, INFOS["teacher"])
    sides = ModelInfo("small", student), ModelInfo("large", teacher)
    return Pair(INFOS["student"], *sides, 2, 5, shared_view=False, **{"maker": maker()} | options)


def trainer(method: Method, made: Pair | None = None, **options: Any) -> Trainer:
    made = made or pair()
    source = (
        LiveTeacher(made.teacher.module, method.needs, "large", trains=False) if method.needs.teacher else NoTeacher()
    )
    recipe = kdbench.Recipe(epochs=2, batch_size=8, lr=0.1, select="last")
    return Trainer(fabric=Fabric(accelerator="cpu", devices=1), method=method, pair=made, teacher=source, train=views(),
                   validation=views(1), recipe=recipe, seed=0, **options)  # fmt: skip


def same(one: nn.Module, other: nn.Module) -> bool:
    return weights_fingerprint(one) == weights_fingerprint(other)


def test_a_further_model_depends_on_the_seed_and_the_purpose_and_draws_nothing_from_the_run():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    made = Pair(INFOS["student"], ModelInfo("small", nn.Identity()), None, 1, 1, maker=maker())
    models = [made.new_model("student", purpose).module for purpose in ("peer", "peer", "assistant")]
    assert torch.rand(2).equal(expected)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])
    assert not same(models[0], maker(seed=1)("student", ("peer",), "student", ()).module)


def test_further_models_are_the_pairs_or_any_registered_student_for_either_view():
    made = pair()
    assert made.new_model("teacher").module[0].weight.shape == (16, 4)
    assert made.new_model("teacher", view="teacher").module[0].weight.shape == (16, 6)
    middle = made.new_model("middle", features=["penultimate"])
    assert (middle.name, middle.features) == ("middle", {"penultimate": (12,)})
    with pytest.raises(UnknownName, match="unknown student 'midle'"):
        made.new_model("midle")
    with pytest.raises(ModelMismatch, match="no feature 'stage9'"):
        made.new_model("middle", features=["stage9"])


def test_students_between_are_of_the_pairs_families_and_sizes_the_largest_first():
    made = maker()
    for name, width, family in (("wide", 15, "a"), ("narrow", 9, "b"), ("same", 8, "a"), ("stranger", 10, "c")):
        made.catalog.add("student", name, partial(network, width), "tests", {"family": family})
    made.catalog.add("student", "broken", int, "tests", {"family": "a"})
    families = {"student": {"family": "a"}, "teacher": {"family": "b"}}
    sides = {
        side: replace(each, entry=replace(each.entry, metadata=families[side])) for side, each in made.sides.items()
    }
    sizes = pair(maker=replace(made, sides=sides)).students_between()
    assert list(sizes) == ["wide", "narrow"]
    assert sizes["narrow"] == (4 + 1) * 9 + (9 + 1) * CLASSES
    assert pair(maker=None).students_between() == {}


def test_a_pair_without_a_maker_says_so():
    with pytest.raises(MethodRefused, match="no further model 'student' can be made"):
        pair(maker=None).new_model()


def test_a_model_trained_inside_a_run_leaves_the_runs_own_training_as_it_was():
    alone, beside = trainer(Plain()), trainer(Plain())
    torch.manual_seed(0)
    alone.run_epochs()
    torch.manual_seed(0)
    trained = [beside.train_model(beside.pair.new_model("middle", "a"), "a") for _ in range(2)]
    assert beside.steps == 20
    beside.run_epochs()
    assert same(*trained)
    assert not same(trained[0], beside.pair.new_model("middle", "a").module), "it was trained"
    assert alone.history == beside.history
    assert same(alone.student, beside.student)


def test_a_model_is_trained_with_a_method_by_the_present_teacher_or_on_labels_in_either_view():
    made = trainer(Taught())
    once = msgspec.structs.replace(made.recipe, epochs=1)
    assistant = made.train_model(made.pair.new_model("middle", "a"), "a", method=Taught(), recipe=once)
    labelled = made.train_model(made.pair.new_model("middle", "a"), "a", recipe=once)
    assert not same(assistant, labelled)
    assert made.teacher_forward_samples == ITEMS, "one epoch of the assistant's"
    wide = made.train_model(made.pair.new_model("teacher", view="teacher"), view="teacher")
    assert wide[0].weight.shape == (16, 6)
    assert made.validate(wide, "teacher")["accuracy"] >= 0
    made.close()


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("view", ["student", "teacher"])
def test_a_model_in_the_teachers_place_is_frozen_and_sees_its_own_view(view, augmented):
    def noisy(inputs: Tensor, stream: torch.Generator) -> Tensor:
        return inputs + torch.randn(inputs.shape, generator=stream)

    made = trainer(Taught(), augment=noisy if augmented else None)
    model = made.pair.new_model("middle", view=view).module
    made.learn_from(model, view)
    assert isinstance(made.teacher, LiveTeacher if augmented else StoredTeacher)
    assert not any(p.requires_grad for p in model.parameters())
    before = weights_fingerprint(model)
    for batch in made.batches(0):
        inputs = batch.inputs if view == "student" else batch.teacher_inputs
        torch.testing.assert_close(made.teacher_outputs(batch).logits, model(inputs))
        assert made.method.step(made, batch)["kd"] > 0
    assert weights_fingerprint(model) == before
    assert made.teacher_forward_samples == (2 * ITEMS if augmented else ITEMS), "asked twice here for each batch"
    made.close()


@pytest.mark.parametrize("asked", ["live", "feature_grad", "input_grad"])
def test_a_model_in_the_teachers_place_is_run_on_what_a_method_shows_it_where_that_declares_so(asked):
    class Shows(Taught):
        needs = kdbench.needs(logits=True, **{asked: True})

    made = trainer(Shows())
    model = made.pair.new_model("middle", view="teacher").module
    made.learn_from(model, "teacher")
    (batch, *_) = made.batches(0)
    other = torch.randn_like(batch.teacher_inputs)
    answer = made.teacher_outputs(replace(batch, teacher_inputs=other)).logits
    torch.testing.assert_close(answer, model(other))
    assert answer.requires_grad == (asked != "live")
    made.close()


def test_random_streams_for_a_method_depend_on_the_seed_and_the_purpose():
    made = trainer(Plain())
    draws = [torch.rand(3, generator=made.generator(*purpose)) for purpose in (("a", 1), ("a", 1), ("a", 2))]
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])


def test_a_teacher_that_came_trained_has_no_training_to_repeat():
    with pytest.raises(MethodRefused, match="cannot follow the training of this teacher"):
        trainer(Plain()).teacher_after([1])


def test_the_teachers_training_repeated_to_its_end_gives_the_teacher(catalog, tmp_path):
    seen: dict[str, Any] = {}

    class Repeats_(Plain):
        def fit(self, trainer):
            seen["teacher"] = trainer.pair.teacher.module
            seen["again"] = trainer.teacher_after([2, 3])
            super().fit(trainer)

    selection = Selection(dataset=("wine",), teacher=("mlp-l",), method=("scratch",), recipe=("tabular",))
    settings = ["teacher_recipe.epochs=3", "epochs=1", "teacher_recipe.select=last"]
    (run,) = make_plan(catalog, selection, settings, Repeats(seeds=(4,))).runs
    context = RunContext(catalog, tmp_path, plugins={}, workers=1)
    context.catalog = _with_method(catalog, Repeats_)
    record, _ = train_and_measure(run, context, EpochListener())
    assert same(seen["again"][3], seen["teacher"])
    assert not same(seen["again"][2], seen["teacher"])
    assert record.cost.steps == 4 * 4, "those of the teacher's training count"


def test_the_teachers_training_is_repeated_once_for_all_seeds_and_again_for_another_teacher(catalog, tmp_path):
    found: list[dict[int, nn.Module]] = []

    class Repeats_(Plain):
        after: tuple[int, ...] = (1, 2)

        def fit(self, trainer):
            found.append(trainer.teacher_after(self.after))
            super().fit(trainer)

    selection = Selection(
        dataset=("wine",), teacher=("mlp-l",), student=("mlp-s",), method=("scratch",), recipe=("tabular",)
    )

    def steps(directory: Path, seed: int, **settings: object) -> tuple[int, list[Any]]:
        asked = [f"{name}={value}" for name, value in ({"epochs": 1, "teacher_recipe.epochs": 3} | settings).items()]
        context = RunContext(_with_method(catalog, Repeats_), directory, plugins={}, workers=1)
        (run,) = make_plan(context.catalog, selection, asked, Repeats(seeds=(seed,))).runs
        record, _ = train_and_measure(run, context, EpochListener())
        assert not any(p.requires_grad for model in found[-1].values() for p in model.parameters())
        return record.cost.steps, record.history

    first, fresh = tmp_path / "first", tmp_path / "fresh"
    assert steps(first, 1)[0] == 3 * 4
    read = steps(first, 2)
    assert read[0] == 4, "the student's alone"
    assert all(same(found[0][epoch], found[1][epoch]) for epoch in (1, 2))
    made = steps(fresh, 2)
    assert (made[0], made[1]) == (3 * 4, read[1]), "what is read changes nothing in the student's training"
    assert all(same(found[2][epoch], found[1][epoch]) for epoch in (1, 2))
    assert steps(first, 1, **{"scratch.after": "[1]"})[0] == 2 * 4, "other epochs"
    assert steps(first, 1, **{"teacher_recipe.epochs": 4})[0] == 3 * 4, "another teacher"
    assert not same(found[-1][2], found[0][2])


def _with_method(catalog: Catalog, method: type[Method]) -> Catalog:
    """The catalog with another method in the place of `scratch`."""
    changed = Catalog()
    for kind in ("dataset", "teacher", "student", "recipe"):
        for entry in catalog.entries(kind):
            changed.add(kind, entry.name, entry.target, entry.plugin, entry.metadata)
    changed.add("method", "scratch", method, "tests", {})
    return changed


class Assisted(Plain):
    names: tuple[str, ...] = ("small",)

    @property
    def uses_models(self):
        return self.names


def test_a_method_that_uses_a_model_that_nothing_registered_is_refused_before_anything_runs(small_catalog):
    small_catalog.add("method", "assisted", Assisted, "tests", {})
    small_catalog.add("student", "exotic", "nowhere:factory", "tests", {"requires": ("no_such_library",)})
    selection = Selection(dataset=("digits",), method=("assisted",))
    assert len(make_plan(small_catalog, selection, [], Repeats(seeds=(0,))).runs) == 1
    with pytest.raises(UnknownName, match="unknown student 'smal'"):
        make_plan(small_catalog, selection, ['assisted.names=["smal"]'])
    with pytest.raises(PluginError, match="student 'exotic' is unavailable"):
        make_plan(small_catalog, selection, ['assisted.names=["exotic"]'])


def test_a_models_feature_name_stands_for_a_module_path():
    info = inspect_model(network(8, INFOS["student"]), Entry("student", "s", None, "tests"), INFOS["student"],
                         torch.zeros(2, 4), ())  # fmt: skip
    assert info.path("penultimate") == "3:input"
    assert info.path("first") == "0"
