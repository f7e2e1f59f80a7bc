"""The online methods in training, on digits."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
import torch
from small_training import check_same, check_training, different
from torch import nn

import kdbench
from kdbench.engine.checkpoints import weights_fingerprint
from kdbench.engine.models import Maker, Side
from kdbench.method import ModelInfo, Pair
from kdbench.testing import check_method
from kdbench_models.cnn import cnn_s
from kdbench_online.assistants import TeacherAssistant
from kdbench_online.cohort import CollaborativeLearning, MutualLearning
from kdbench_online.early import EarlyStoppedKD
from kdbench_online.feedback import AdaptiveKD
from kdbench_online.generations import BornAgain
from kdbench_online.learning import LearningTeacher
from kdbench_online.native import NativeEnsemble
from kdbench_online.route import RouteConstrained

EPOCHS = 2
CASES = [
    (MutualLearning, {"weight": 1.0, "peers": ["student", "mlp-s"]}),
    (CollaborativeLearning, {}),
    (NativeEnsemble, {"fork": "first"}),
    (LearningTeacher, {"feedback": 1.0}),
    (AdaptiveKD, {}),
    (EarlyStoppedKD, {"distil": 1.0}),
    (RouteConstrained, {"anchors": 2}),
    (BornAgain, {"generations": 1}),
    (TeacherAssistant, {"assistants": ["mlp-s"]}),
]
ADAM = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0}  # learns enough in two epochs, assistants included
# Models that begin alike drift apart before they agree, and a later anchor is harder to follow than an earlier one:
# tests of their own, below, say what these terms do.
OWN_TEST = {
    MutualLearning: {"kl", "peers_kl"}, CollaborativeLearning: {"kl", "peers_kl"}, RouteConstrained: {"kd"},
    NativeEnsemble: {"kl", "branches_kl"},
}  # fmt: skip


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_a_method_trains_on_digits(digits_bench, cls, params):
    but = OWN_TEST.get(cls, set()) | {"gap"}
    done = check_training(digits_bench, lambda: cls(**params), but=but, answers=False, **ADAM)
    assert done.own_terms - {"gap"}
    assert done.history[-1]["val_accuracy"] > max(0.5, done.history[0]["val_accuracy"])


@pytest.mark.parametrize("cls", [MutualLearning, CollaborativeLearning])
def test_models_that_learn_together_agree_more_than_the_same_models_side_by_side(digits_bench, cls):
    inputs, apart = digits_bench.validation.student, []
    for weight in (0.0, 3.0):
        trainer = digits_bench.distil(cls(weight=weight)).trainer
        (peer,) = trainer.method.module.eval()
        with torch.no_grad():
            apart.append(float(kdbench.kernels.kd_kl(trainer.student.eval()(inputs), peer(inputs))))
    assert apart[1] < 0.8 * apart[0]


def test_the_branches_of_a_native_ensemble_go_through_the_students_own_trunk(digits_bench):
    trainer = digits_bench.trainer(NativeEnsemble(fork="first"))
    batch = next(iter(trainer.batches(0)))
    student = trainer.student_outputs(batch)
    tail = trainer.model.tail(trainer.pair.student.path("first"))
    assert tail(student.features["first"]).equal(student.logits), "the student's own end is what follows the fork"
    first, second = trainer.method.module["branches"]
    assert different(first, second)
    assert different(first, tail)
    terms = trainer.method.loss(batch, student, None)
    sum(terms[name] for name in ("branches_ce", "ensemble_ce")).backward()
    stem = [parameter for name, parameter in trainer.model.named_parameters() if name.startswith("stage1")]
    assert all(parameter.grad.any() for parameter in stem)
    trainer.close()


@pytest.mark.parametrize(
    ("params", "changes", "why"),
    [
        ({"fork": "penultimate"}, {}, "is no stage"),
        ({"fork": "first"}, {"batch_size": 1}, "batches of one"),
        ({"fork": "first"}, {"tail": None}, "has no method tail"),
    ],
)
def test_a_native_ensemble_refuses_students_that_cannot_fork(digits_bench, monkeypatch, params, changes, why):
    method = NativeEnsemble(**params)
    pair = digits_bench.pair(method)
    if "tail" in changes:
        monkeypatch.setattr(type(pair.student.module), "tail", changes.pop("tail"))
    with pytest.raises(kdbench.MethodRefused, match=why):
        method.check(dataclasses.replace(pair, **changes))


def test_progressive_follows_each_anchor(digits_bench):
    trainer = digits_bench.distil(RouteConstrained(anchors=2), epochs=4).trainer
    kd = [row["kd"] for row in trainer.history]
    assert kd[1] < kd[0], "the first anchor"
    assert kd[3] < kd[2], "the teacher itself"


@pytest.mark.parametrize("cls", [MutualLearning, CollaborativeLearning])
def test_peers_do_not_begin_alike_and_the_teacher_plays_no_part(digits_bench, cls):
    trainer = digits_bench.trainer(cls(peers=["student", "student", "teacher"]))
    first, second, third = trainer.method.module
    begun = [weights_fingerprint(model) for model in (trainer.model, first, second)]
    assert len(set(begun)) == 3
    assert different(third, digits_bench.teacher)
    assert trainer.teacher.module is None
    trainer.close()


def test_the_weight_and_temperature_of_adaptive_kd_follow_the_gap(digits_bench):
    method = AdaptiveKD(rate=0.25, temperature=6.0, last_temperature=2.0, alpha=0.8, last_alpha=0.2)
    used = []
    soft = method.soft

    def watched(batch, student, teacher, temperature, alpha):
        used.append((batch.epoch, temperature, alpha))
        return soft(batch, student, teacher, temperature, alpha)

    method.soft = watched
    trainer = digits_bench.distil(method, epochs=4).trainer
    best = trainer.validate(digits_bench.teacher)["accuracy"]
    assert best > 0.8
    gap = 1.0
    for epoch, row in enumerate(trainer.history):
        assert row["gap"] == pytest.approx(gap)
        expected = (epoch, 2 + 4 * gap, 0.2 + 0.6 * gap)
        (found,) = {each for each in used if each[0] == epoch}
        assert found == pytest.approx(expected)
        gap = 0.75 * gap + 0.25 * min(1.0, max(0.0, (best - row["val_accuracy"]) / (best - 0.1)))
    assert gap < 1


def test_a_student_that_is_better_than_a_teacher_at_chance_learns_from_the_labels(digits_bench):
    class Nothing(nn.Module):
        def forward(self, inputs):
            return inputs.new_zeros(len(inputs), 10)

    bench = dataclasses.replace(digits_bench, teacher=Nothing())
    trainer = bench.distil(AdaptiveKD(rate=1.0)).trainer
    assert [row["gap"] for row in trainer.history] == [1.0, 0.0]


def test_early_stopped_kd_runs_the_teacher_and_its_term_in_the_first_part_only(digits_bench):
    trainer = digits_bench.distil(EarlyStoppedKD(distil=0.5)).trainer
    assert ["kd" in row for row in trainer.history] == [True, False]
    assert trainer.teacher_forward_samples == len(trainer.train_data.labels), "in one epoch of two"


def test_the_early_stopped_teacher_is_a_fresh_one_trained_for_its_share_of_the_epochs(digits_bench):
    trainer = digits_bench.trainer(EarlyStoppedKD(teacher_fraction=0.5))
    slow = msgspec.structs.replace(trainer.recipe, epochs=4, lr=0.01)
    trainer.pair = dataclasses.replace(trainer.pair, teacher_recipe=slow)
    steps = math.ceil(len(trainer.train_data.labels) / 64)
    trainer.method.fit(trainer)
    assert trainer.steps == steps * (EPOCHS + 2)
    made = digits_bench.trainer(EarlyStoppedKD())
    fresh = made.pair.new_model("teacher", "early-stopped teacher", view="teacher")
    expected = made.train_model(
        fresh, "early-stopped teacher", view="teacher", recipe=msgspec.structs.replace(slow, epochs=2)
    )
    batch = next(iter(trainer.batches(0)))
    assert trainer.teacher_outputs(batch).logits.allclose(expected.eval()(batch.inputs), atol=1e-5)
    trainer.close()


def test_progressive_distils_from_each_anchor_in_turn_and_at_last_from_the_teacher(digits_bench):
    method = RouteConstrained(anchors=3)
    trainer = digits_bench.trainer(method, epochs=3)
    asked = []
    learn_from = trainer.learn_from

    def watched(model, view="student"):
        asked.append((trainer.validate(model)["loss"], model, view, len(trainer.history)))
        learn_from(model, view)

    trainer.learn_from = watched
    method.fit(trainer)
    assert [epoch for *_, epoch in asked] == [0, 1, 2]
    assert {view for _, _, view, _ in asked} == {"teacher"}
    assert asked[-1][1] is trainer.pair.teacher.module
    assert asked[0][0] > asked[1][0], "a later anchor is a better teacher"
    trainer.close()


def test_the_anchors_are_kept_beside_the_teacher_for_every_seed(digits_bench, tmp_path):
    alone, steps = (
        digits_bench.distil(RouteConstrained(anchors=2), seed=2),
        math.ceil(len(digits_bench.train.labels) / 64),
    )
    first, second = (digits_bench.distil(RouteConstrained(anchors=2), seed=seed, place=tmp_path) for seed in (1, 2))
    assert [done.trainer.steps for done in (alone, first, second)] == [3 * steps, 3 * steps, 2 * steps]
    check_same(second, alone)
    more = digits_bench.distil(RouteConstrained(anchors=4), seed=2, place=tmp_path)
    assert more.trainer.steps == 4 * steps, "other anchors, of epochs 1 and 2"


def test_born_again_generations_each_have_fresh_weights_and_learn_from_the_one_before(digits_bench):
    trainer = digits_bench.trainer(BornAgain(generations=2))
    taught = []
    learn_from = trainer.learn_from

    def watched(model, view="student"):
        taught.append(model)
        learn_from(model, view)

    trainer.learn_from = watched
    trainer.method.fit(trainer)
    assert len(taught) == 2
    again = digits_bench.trainer(BornAgain(generations=2))
    labelled = again.train_model(again.pair.new_model("student", "generation", 0), "generation", 0)
    assert different(taught[0], labelled) == set(), "generation 0 learns from labels"
    again.learn_from(labelled)
    second = again.train_model(again.pair.new_model("student", "generation", 1), "generation", 1, method=BornAgain())
    assert different(taught[1], second) == set(), "generation 1 learns from generation 0"
    assert trainer.steps == 3 * EPOCHS * math.ceil(len(trainer.train_data.labels) / 64)
    trainer.close()


def test_assistants_are_a_chain_that_depends_on_the_seed_and_their_place(digits_bench):
    def chain(seed: int, *names: str) -> list[nn.Module]:
        trainer = digits_bench.trainer(TeacherAssistant(assistants=names), seed=seed, epochs=1)
        made: list[nn.Module] = []
        learn_from = trainer.learn_from

        def watched(model, view="student"):
            made.append(model)
            learn_from(model, view)

        trainer.learn_from = watched
        trainer.method.fit(trainer)
        trainer.close()
        return made

    one = chain(1, "cnn-s")
    two = chain(1, "cnn-s", "mlp-s")
    assert different(one[0], two[0]) == set()
    assert different(one[0], chain(2, "cnn-s")[0])
    assert len(two) == 2


def test_an_assistant_learns_from_the_teacher_and_the_student_from_the_assistant(digits_bench):
    """With soft targets alone, an assistant that knows nothing teaches nothing."""
    method = TeacherAssistant(assistants=["cnn-m"], alpha=1.0)
    trainer = digits_bench.distil(method, epochs=3, **ADAM).trainer
    assert trainer.history[-1]["val_accuracy"] > 0.7, "through the assistant"
    made = digits_bench.trainer(method, epochs=3, **ADAM)
    made.train_model = lambda model, *purpose, **options: model.module
    made.method.fit(made)
    assert made.history[-1]["val_accuracy"] < 0.5, "through an assistant that was not trained"
    made.close()


def test_the_assistant_that_is_not_named_is_the_middle_of_the_pairs_family(catalog):
    def chain(student: str, teacher: str, **params: object) -> tuple[str, ...]:
        info = kdbench.DatasetInfo("made up", "multiclass", 10, (3, 32, 32), 100)
        entries = {"student": catalog.find("student", student), "teacher": catalog.find("teacher", teacher)}
        maker = Maker(
            catalog, {side: Side(entry, info, torch.zeros(2, 3, 32, 32)) for side, entry in entries.items()}, 0
        )
        models = [ModelInfo(entry.name, entry.load()(info)) for entry in entries.values()]
        pair = Pair(info, *models, 1, 1, maker=maker)
        method = TeacherAssistant(**params)
        method.check(pair)
        return tuple(method.chain(pair))

    assert chain("cnn-s", "cnn-l") == ("cnn-m",)
    assert chain("mlp-s", "mlp-l") == ("mlp-m",)
    assert chain("mlp-s", "mlp-l", assistants=["cnn-m", "linear"]) == ("cnn-m", "linear")
    with pytest.raises(kdbench.MethodRefused, match="no registered student has a size in the middle"):
        chain("cnn-m", "cnn-l")


def test_an_assistant_between_an_estimator_and_the_student_must_be_named(kdbench_command):
    asked = ("run", "--dataset", "wine", "--teacher", "random-forest", "--student", "mlp-s", "--method", "takd")
    refused = kdbench_command(*asked, "--seeds", 1, "--dry-run")
    assert "no registered student has a size in the middle" in refused.stdout
    named = kdbench_command(*asked, "--seeds", 1, "--dry-run", "--set", 'takd.assistants=["mlp-m"]')
    assert "1 runs, 1 to run" in named.stdout


@pytest.mark.parametrize(("cls", "params"), [(RouteConstrained, {}), (EarlyStoppedKD, {"teacher_fraction": 0.5})])
def test_a_teacher_that_came_trained_is_refused_where_it_would_have_to_be_trained_again(digits_bench, cls, params):
    method = cls(**params)
    pair = dataclasses.replace(digits_bench.pair(method), teacher_recipe=None)
    with pytest.raises(kdbench.MethodRefused, match=r"method '\w+' cannot serve this pair: its teacher came trained"):
        method.check(pair)


@pytest.mark.parametrize(("cls", "params"), [
    (MutualLearning, {"peers": []}), (RouteConstrained, {"anchors": 1}),
    (BornAgain, {"generations": 0}), (EarlyStoppedKD, {"teacher_fraction": 0}), (AdaptiveKD, {"rate": 0}),
])  # fmt: skip
def test_parameters_out_of_range_are_refused(cls, params):
    with pytest.raises(kdbench.InvalidParameter, match=next(iter(params))):
        cls(**params)


@pytest.mark.parametrize(("cls", "params"), CASES)
def test_each_keeps_the_promises_of_a_method(cls, params):
    names = {key: ["student"] for key in ("peers", "assistants") if key in params}
    check_method(cls, student=cnn_s, **params | names)  # which has stages to fork, as the kit's own has not


def test_every_method_of_the_plugin_is_trained_here(catalog):
    entries = list(catalog.of_plugin("online"))
    assert {entry.load() for entry in entries} == {cls for cls, _ in CASES}
    assert {entry.metadata["family"] for entry in entries} == {"online"}
