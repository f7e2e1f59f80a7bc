"""The training loop: what it promises of steps, checkpoints, averages and early stops."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.augment import augmentation
from kdbench.engine.signals import LiveTeacher, NoTeacher
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.errors import Diverged, InvalidLoss, MethodRefused
from kdbench.method import Method, ModelInfo, Pair

ITEMS, CLASSES, SIZE = 21, 3, 4
INFO = DatasetInfo("made up", "multiclass", CLASSES, (SIZE,), ITEMS)


class Plain(Method):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


def views(items: int = ITEMS, seed: int = 0) -> Views:
    stream = torch.Generator().manual_seed(seed)
    inputs = torch.randn(items, SIZE, generator=stream)
    return Views(inputs, inputs, torch.arange(items) % CLASSES)


def student(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(SIZE, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def trainer(method: Method | None = None, model: nn.Module | None = None, **options: Any) -> Trainer:
    recipe = kdbench.Recipe(**{"epochs": 3, "batch_size": 8, "lr": 0.1, "select": "last"} | options.pop("recipe", {}))
    model = model or student()
    arguments: dict[str, Any] = {
        "fabric": options.pop("fabric", None) or Fabric(accelerator="cpu", devices=1, precision=recipe.precision),
        "method": method or Plain(),
        "pair": Pair(INFO, ModelInfo("student", model), None, recipe.epochs, 3), "teacher": NoTeacher(),
        "train": views(), "validation": views(9, seed=1), "recipe": recipe, "seed": 0,
    }  # fmt: skip
    return Trainer(**arguments | options)


def test_it_is_sgd_written_by_hand():
    """The same loss, data order and schedule in a loop of ten lines gives the same weights."""
    made = trainer(recipe={"schedule": "step", "milestones": (0.34,), "momentum": 0.9, "weight_decay": 1e-3})
    reference = copy.deepcopy(made.model)
    order = [batch.index for epoch in range(3) for batch in trainer().batches(epoch)]
    made.run_epochs()
    data = views()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    for step, index in enumerate(order):
        optimizer.param_groups[0]["lr"] = 0.1 if step < 3.06 else 0.01
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(data.student[index]), data.labels[index]).backward()
        optimizer.step()
    for name, value in made.model.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], msg=name)
    assert made.steps == len(order) == 9


def test_an_epoch_visits_every_item_once_in_an_order_of_the_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat([batch.index for batch in trainer(seed=seed).batches(epoch)]).tolist()

    assert sorted(order(0, 0)) == list(range(ITEMS))
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)


def test_a_last_batch_of_one_item_is_left_out():
    batches = list(trainer(train=views(17)).batches(0))
    assert [len(batch.labels) for batch in batches] == [8, 8]


def test_progress_rises_from_0_towards_1():
    made = trainer()
    progress = [batch.progress for epoch in range(3) for batch in made.batches(epoch)]
    assert progress == pytest.approx([step / 9 for step in range(9)])


@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
def test_the_best_checkpoint_of_validation_is_kept(monitor):
    made = trainer(recipe={"epochs": 12, "lr": 5.0, "select": "best", "monitor": monitor, "schedule": "constant"})
    states = []
    made.on_epoch = lambda epoch, logs: states.append(copy.deepcopy(made.model.state_dict()))
    made.run_epochs()
    keys = [
        (-row["val_loss"],) if monitor == "loss" else (row["val_accuracy"], -row["val_loss"]) for row in made.history
    ]
    best = keys.index(max(keys))
    assert made.selected_epoch == best
    assert best < 11, "a rate this high does not end at its best: the test would say nothing"
    for name, value in made.model.state_dict().items():
        assert value.equal(states[best][name])


def test_the_last_checkpoint_is_kept_where_the_recipe_says_so():
    made = trainer(recipe={"epochs": 12, "lr": 2.0, "select": "last"})
    made.run_epochs()
    assert made.selected_epoch == 11


def test_training_stops_when_validation_has_not_improved_for_as_long_as_patience():
    made = trainer(recipe={"epochs": 50, "lr": 5.0, "patience": 3, "schedule": "constant", "select": "best"})
    made.run_epochs()
    assert len(made.history) == made.selected_epoch + 4 < 50


def test_the_average_of_the_weights_is_what_is_scored_and_kept():
    made = trainer(recipe={"ema": 0.5})
    average = None
    for epoch in range(3):
        for batch in made.batches(epoch):
            made.method.step(made, batch)
            now = {name: value.clone() for name, value in made.model.state_dict().items()}
            average = now if average is None else {n: 0.5 * average[n] + 0.5 * now[n] for n in now}
    whole = trainer(recipe={"ema": 0.5})
    whole.run_epochs()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, average[name])


def test_gradients_are_clipped_to_the_recipes_norm():
    class Steep(Method):
        def loss(self, batch, student, teacher):
            return 1e4 * batch.cross_entropy(student.logits)

    made = trainer(Steep(), recipe={"clip_norm": 0.25, "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0})
    before = [p.detach().clone() for p in made.model.parameters()]
    batch = next(iter(made.batches(0)))
    rate = made.optimizer.param_groups[0]["lr"]
    made.method.step(made, batch)
    moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(made.model.parameters(), before, strict=True)])
    assert float(moved.norm()) == pytest.approx(0.25 * rate, rel=1e-4)


def test_a_methods_own_modules_are_clipped_by_themselves():
    class Peer(Method):
        def build(self, pair):
            return nn.Linear(4, 3)

        def loss(self, batch, student, teacher):
            return {"ce": batch.cross_entropy(student.logits), "peer": self.steep * self.module.weight.square().sum()}

    steps, plain = {}, {"clip_norm": 0.01, "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    for steep in (0.0, 1e4):
        method = Peer()
        method.steep = steep
        made = trainer(method, recipe=plain)
        student, peer = made.model[0].weight.detach().clone(), method.module.weight.detach().clone()
        made.method.step(made, next(iter(made.batches(0))))
        steps[steep] = made.model[0].weight.detach() - student, method.module.weight.detach() - peer
    assert steps[1e4][0].equal(steps[0.0][0]), "the student's step is that without the steep peer"
    assert steps[1e4][0].any()
    rate = made.optimizer.param_groups[0]["lr"]
    assert float(steps[1e4][1].norm()) == pytest.approx(0.01 * rate, rel=1e-4)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights():
    seen = []

    class Looks(Method):
        def loss(self, batch, student, teacher):
            seen.append(student.logits.dtype)
            return batch.cross_entropy(student.logits.float())

    made = trainer(Looks(), recipe={"precision": "bf16-mixed"})
    linear: list[torch.dtype] = []
    made.model[0].register_forward_hook(lambda module, inputs, output: linear.append(output.dtype))
    made.run_epochs()
    assert linear[0] == torch.bfloat16
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    assert made.history[-1]["loss"] < made.history[0]["loss"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_logits_can_be_differentiated_at_the_features_whatever_the_precision(precision):
    class Steep(Method):
        needs = kdbench.needs(student_features=["0"], feature_grad=True)

        def loss(self, batch, student, teacher):
            (gradient,) = torch.autograd.grad(student.logits.sum(), student.features["0"], create_graph=True)
            return {"steep": gradient.float().square().mean()}

    made = trainer(Steep(), recipe={"precision": precision, "epochs": 2})
    made.run_epochs()
    assert made.history[1]["steep"] < made.history[0]["steep"]


def test_features_reach_a_projector_in_float32_whatever_the_precision():
    class Hint(Method):
        needs = kdbench.needs(student_features=["0"])

        def build(self, pair):
            return nn.Linear(8, 2)

        def loss(self, batch, student, teacher):
            assert student.features["0"].dtype == student.logits.dtype == torch.float32
            return batch.cross_entropy(student.logits) + self.module(student.features["0"]).square().mean()

    made = trainer(Hint(), recipe={"precision": "bf16-mixed"})
    made.run_epochs()
    assert made.history[-1]["loss"] < made.history[0]["loss"]


def test_float16_gradients_are_clipped_as_they_are_without_the_scale_of_the_loss():
    """With a scale of 65,536 a norm taken of scaled gradients would clip nearly everything away."""
    moved = {}
    for norm in (None, 1e3):
        scaler = torch.amp.GradScaler("cpu")
        made = trainer(
            fabric=Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)]),
            recipe={"precision": "16-mixed", "clip_norm": norm, "weight_decay": 0.0},
        )
        before = made.model[0].weight.detach().clone()
        made.method.step(made, next(iter(made.batches(0))))
        assert scaler.get_scale() == 65536
        moved[norm] = made.model[0].weight.detach() - before
    assert moved[None].abs().max() > 0
    torch.testing.assert_close(moved[1e3], moved[None])


def test_both_models_see_the_same_augmentation_of_a_shared_view():
    made = trainer(augment=augmentation(("noise",)))
    batch = next(iter(made.batches(0)))
    assert batch.teacher_inputs is batch.inputs
    assert not batch.inputs.equal(views().student[batch.index])
    assert batch.inputs.equal(next(iter(trainer(augment=augmentation(("noise",))).batches(0))).inputs)


class WithModule(Method):
    """Owns a module that the student's optimiser trains, and one with an optimiser of its own."""

    def build(self, pair):
        return nn.ModuleDict({"mine": nn.Linear(CLASSES, CLASSES), "other": nn.Linear(CLASSES, CLASSES)})

    def optimizers(self, pair):
        return {"other": torch.optim.SGD(self.module["other"].parameters(), lr=0.5)}

    def loss(self, batch, student, teacher):
        return batch.cross_entropy(self.module["mine"](student.logits))


def test_a_methods_modules_are_trained_unless_it_steps_them_itself():
    made = trainer(WithModule())
    before = copy.deepcopy(made.method.module.state_dict())
    made.run_epochs()
    after = made.method.module.state_dict()
    assert not after["mine.weight"].equal(before["mine.weight"])
    assert after["other.weight"].equal(before["other.weight"])


def test_a_teacher_that_learns_is_trained_with_the_student():
    class Mutual(Method):
        needs = kdbench.needs(logits=True)
        trains_teacher = True

        def loss(self, batch, student, teacher):
            return {"s": batch.cross_entropy(student.logits), "t": batch.cross_entropy(teacher.logits)}

    teacher = student(seed=5)
    before = copy.deepcopy(teacher.state_dict())
    made = trainer(Mutual(), teacher=LiveTeacher(teacher, Mutual.needs, "teacher", trains=True))
    made.run_epochs()
    assert not teacher.state_dict()["0.weight"].equal(before["0.weight"])


def test_a_method_may_take_over_the_training_and_replace_the_student():
    class Replaces(Method):
        def fit(self, trainer):
            trainer.student = nn.Linear(SIZE, CLASSES)

    made = trainer(Replaces())
    made.method.fit(made)
    assert isinstance(made.student, nn.Linear)
    assert made.samples_per_second is None


def test_a_student_replaced_before_the_epochs_is_the_one_that_trains():
    class Replaces(Plain):
        needs = kdbench.needs(student_features=["0"])

        def fit(self, trainer):
            trainer.student = student(seed=9)
            trainer.run_epochs()

    for recipe in ({}, {"ema": 0.5}, {"precision": "bf16-mixed"}):
        made = trainer(Replaces(), recipe=recipe)
        first = copy.deepcopy(made.student.state_dict())
        old = made.student
        made.method.fit(made)
        made.close()
        for name, value in old.state_dict().items():
            assert value.equal(first[name]), "the model that was replaced moved"
        assert not made.student[0].weight.equal(student(seed=9)[0].weight)
        assert not old[0]._forward_hooks
        assert not made.student[0]._forward_hooks
        assert made.history[-1]["loss"] < made.history[0]["loss"]


@pytest.mark.parametrize(("allowed_from", "chosen"), [(0, 1), (2, 2), (4, 3)])
def test_no_checkpoint_is_chosen_before_the_method_allows_it(allowed_from, chosen):
    made = trainer(recipe={"select": "best", "lr": 3.0, "epochs": 4, "schedule": "constant", "monitor": "loss"})
    made.method.may_choose = lambda trainer: len(trainer.history) > allowed_from
    made.run_epochs()
    losses = [row["val_loss"] for row in made.history]
    assert losses[1] == min(losses), "the case is one where an early epoch is the best"
    assert losses[2] < losses[3]
    assert made.selected_epoch == chosen


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda logits: logits.sum(1), r"term 'loss' has shape \(8,\)"),
        (lambda logits: {}, "returned no loss terms"),
        (lambda logits: {"ce": 0.5}, "term 'ce' has float"),
        (lambda logits: logits.detach().sum(), "without gradient"),
    ],
)
def test_a_loss_that_cannot_be_optimised_is_refused(loss, message):
    class Bad(Method):
        def loss(self, batch, student, teacher):
            return loss(student.logits)

    with pytest.raises(InvalidLoss, match=message):
        trainer(Bad()).run_epochs()


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_term():
    class Explodes(Method):
        def loss(self, batch, student, teacher):
            return {"ce": batch.cross_entropy(student.logits), "far": student.logits.sum() * float("inf")}

    with pytest.raises(Diverged, match=r"loss term 'far' became .* in epoch 0"):
        trainer(Explodes(), recipe={"batch_size": ITEMS}).run_epochs()


def test_hooks_are_gone_after_close():
    class Reads(Method):
        needs = kdbench.needs(student_features=["0"])

        def loss(self, batch, student, teacher):
            return student.features["0"].square().mean()

    made = trainer(Reads())
    made.run_epochs()
    made.close()
    assert not made.model[0]._forward_hooks


def test_the_teacher_can_be_asked_about_other_inputs_which_is_counted():
    teacher = student(5).eval().requires_grad_(False)
    needs = kdbench.needs(logits=True)
    made = trainer(teacher=LiveTeacher(teacher, needs, "teacher", trains=False))
    inputs = torch.randn(6, SIZE, requires_grad=True)
    logits = made.teacher_logits(inputs)
    assert logits.equal(teacher(inputs))
    (slope,) = torch.autograd.grad(logits.sum(), inputs)
    assert slope.any()
    assert made.teacher.forward_samples == 6
    with pytest.raises(MethodRefused, match="method Plain runs the teacher, and declares no need of one"):
        trainer().teacher_logits(inputs)


def test_batches_of_one_are_trained_on_where_the_recipe_asks_for_them():
    made = trainer(recipe={"batch_size": 1, "epochs": 1})
    assert [len(batch.labels) for batch in made.batches(0)] == [1] * ITEMS
    assert [len(batch.labels) for batch in trainer(recipe={"batch_size": 4}).batches(0)] == [4] * 5


def test_weight_decay_leaves_a_methods_bare_parameters_alone_and_the_schedule_does_not():
    class Owns(Method):
        def build(self, pair):
            module = nn.Module()
            module.scale, module.layer = nn.Parameter(torch.ones(3)), nn.Linear(2, 2)
            return module

        def loss(self, batch, student, teacher):
            nothing = sum(0 * parameter.sum() for parameter in self.module.parameters())
            return batch.cross_entropy(student.logits) + nothing

    class Decays(Owns):
        def undecayed(self):
            return ()

    rates = []
    for cls, kept in ((Owns, True), (Decays, False)):
        made = trainer(cls(), recipe={"weight_decay": 0.1, "schedule": "cosine"})
        before = made.method.module.layer.weight.detach().clone()
        made.run_epochs()
        assert made.method.module.scale.equal(torch.ones(3)) == kept
        assert (made.method.module.layer.weight.abs() < before.abs()).all()
        rates.append({group["lr"] for group in made.optimizer.param_groups})
    assert rates[0] == rates[1]
    assert len(rates[0]) == 1
