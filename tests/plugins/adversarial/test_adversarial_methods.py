"""Each adversarial method's terms against its paper's formula, its gradients, its edges and what it refuses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import adversarial_formulas as formulas
import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_adversarial.boundary import BoundarySamples
from kdbench_adversarial.conditional import ConditionalAdversarial
from kdbench_adversarial.players import LabelDiscriminator
from kdbench_adversarial.robust import RobustDistillation
from kdbench_adversarial.three_players import ThreePlayers

SIZE = 5
CLOSE = {"rel": 1e-6, "abs": 1e-8}


def network(seed: int, classes: int, hidden: int = 6) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(SIZE, hidden), nn.Tanh(), nn.Linear(hidden, classes)).double()
    with torch.no_grad():
        layers[2].weight.mul_(3)
    return layers


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_batch(inputs: Tensor, labels: Tensor, progress: float = 0.0) -> Batch:
    return Batch(inputs, inputs, labels, torch.arange(len(labels)), progress, 0)


class OneStep:
    """What a method's step asks of a trainer; `optimize` gives the terms back with their gradients."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        self.student, self.teacher, self.passes = student, teacher.requires_grad_(False), 0

    def student_outputs(self, batch: Batch) -> Outputs:
        return Outputs(self.student(batch.inputs), {}, batch.inputs)

    def teacher_outputs(self, batch: Batch) -> Outputs:
        return Outputs(self.teacher(batch.teacher_inputs), {}, batch.teacher_inputs)

    def teacher_logits(self, inputs: Tensor) -> Tensor:
        self.passes += 1
        return self.teacher(inputs)

    def optimize(self, terms: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return terms


def made_pair(classes: int = 4, shape: tuple[int, ...] = (SIZE,), **options: Any) -> Pair:
    info = kdbench.DatasetInfo("made up", "multiclass", classes, shape, 20)
    return Pair(info, ModelInfo("small", nn.Identity()), ModelInfo("big", nn.Identity()), 1, 1, **options)


def ready(method: kdbench.Method, classes: int = 4) -> kdbench.Method:
    torch.manual_seed(11)
    method.check(made_pair(classes))
    method.module = method.build(made_pair(classes)).double()
    return method


def numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in terms.items()}


# ---- xu_gan


@pytest.mark.parametrize("labels", [[2], [0, 3, 0], [1, 1, 1, 1]])
def test_xu_gans_losses_are_the_formula(labels):
    method = ready(ConditionalAdversarial(l1=2.0, adversarial=0.5, width=8))
    items, known = len(labels), torch.tensor(labels)
    ours, target = 3 * randn(items, 4, seed=1), 3 * randn(items, 4, seed=2)
    batch = make_batch(randn(items, SIZE), known)

    def judged(row: Tensor) -> tuple[float, list[float]]:
        real, label = method.module(row[None])
        return formulas.sigmoid(float(real.detach())), label[0].tolist()

    told, terms = [], {"ce": [], "l1": [], "adversarial": [], "class": []}
    for one, other, label in zip(ours, target, labels, strict=True):
        (mine, my_class), (theirs, their_class) = judged(one), judged(other)
        told.append(
            -math.log(theirs) - math.log(1 - mine)
            + formulas.cross_entropy(my_class, label) + formulas.cross_entropy(their_class, label)
        )  # fmt: skip
        terms["ce"].append(formulas.cross_entropy(one.tolist(), label))
        terms["l1"].append(2 * formulas.mean([abs(a - b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]))
        terms["adversarial"].append(-0.5 * math.log(mine))
        terms["class"].append(0.5 * formulas.cross_entropy(my_class, label))
    assert method.discrimination(batch, ours, target).item() == pytest.approx(formulas.mean(told), **CLOSE)
    expected = {name: formulas.mean(values) for name, values in terms.items()}
    assert numbers(method.imitation(batch, ours, target)) == pytest.approx(expected, **CLOSE)


# ---- kdgan


def test_kdgans_losses_are_the_formula():
    method = ready(ThreePlayers(alpha=0.3, beta=2.0, gamma=0.5, ce=0.7, temperature=3.0))
    labels, items = [2, 0, 2], 3
    ours, theirs, scores = (2 * randn(items, 4, seed=seed) for seed in (1, 2, 3))
    guess, other = (randn(items, 4, seed=seed).softmax(1) for seed in (4, 5))
    batch = make_batch(randn(items, SIZE), torch.tensor(labels))

    def fooled(score: Tensor, label: Tensor) -> float:
        return math.log(1 - formulas.sigmoid(sum(a * b for a, b in zip(score.tolist(), label.tolist(), strict=True))))

    mine = formulas.mean([fooled(*each) for each in zip(scores, guess, strict=True)])
    teachers = formulas.mean([fooled(*each) for each in zip(scores, other, strict=True)])
    true = formulas.mean([math.log(formulas.sigmoid(float(s[label]))) for s, label in zip(scores, labels, strict=True)])
    found = method.discrimination(scores, batch.labels, guess, other)
    assert found.item() == pytest.approx(-(true + 0.3 * mine + 0.7 * teachers), **CLOSE)
    rows = list(zip(ours.tolist(), theirs.tolist(), labels, strict=True))
    assert numbers(method.imitation(batch, ours, theirs, scores, guess, other)) == pytest.approx(
        {
            "ce": 0.7 * formulas.mean([formulas.cross_entropy(s, label) for s, _, label in rows]),
            "kd": 2.0 * formulas.mean([formulas.kl(t, s, 3.0) for s, t, _ in rows]),
            "adversarial": 0.3 * mine,
            "teacher_ce": 0.7 * formulas.mean([formulas.cross_entropy(t, label) for _, t, label in rows]),
            "teacher_kd": 0.5 * formulas.mean([formulas.kl(s, t, 3.0) for s, t, _ in rows]),
            "teacher_adversarial": 0.7 * teachers,
        },
        **CLOSE,
    )


def test_kdgans_guesses_are_drawn_from_the_concrete_distribution():
    method, logits = ThreePlayers(concrete=0.5), randn(3, 4)
    torch.manual_seed(3)
    found = method.guesses(logits)
    torch.manual_seed(3)
    noise = torch.empty(3, 4, dtype=torch.float64).exponential_()
    for row, drawn, guess in zip(logits.tolist(), noise.tolist(), found, strict=True):
        shifted = [(value - math.log(e)) / 0.5 for value, e in zip(row, drawn, strict=True)]
        assert guess.tolist() == pytest.approx(formulas.softmax(shifted))


def test_each_of_kdgans_players_is_taught_by_its_own_terms():
    method = ready(ThreePlayers())
    ours, theirs = (randn(3, 4, seed=seed).requires_grad_() for seed in (1, 2))
    batch = make_batch(randn(3, SIZE), torch.tensor([0, 1, 2]))
    terms = method.imitation(batch, ours, theirs, randn(3, 4, seed=3), method.guesses(ours), method.guesses(theirs))
    for name, value in terms.items():
        mine, others = torch.autograd.grad(value, (ours, theirs), retain_graph=True, allow_unused=True)
        taught, left = (others, mine) if name.startswith("teacher") else (mine, others)
        assert taught.any(), name
        assert left is None or not left.any(), name


@pytest.mark.parametrize(("shape", "inputs"), [((7,), 7), ((3, 8, 6), 144), ((1, 64, 48), 1024), ((4, 5), 20)])
def test_kdgans_discriminator_takes_inputs_of_any_shape(shape, inputs):
    discriminator = LabelDiscriminator(shape, 4, 16)
    assert discriminator.body[1].in_features == inputs
    assert discriminator(torch.randn(2, *shape)).shape == (2, 4)


# ---- ard


@pytest.mark.parametrize("attack", ["kl", "ce"])
@pytest.mark.parametrize("items", [1, 3])
def test_ard_is_the_formula_at_the_end_of_projected_gradient_ascent(attack, items):
    student, teacher = network(1, 4), network(2, 4)
    inputs, labels = randn(items, SIZE), torch.tensor([2, 0, 2][:items])
    method = RobustDistillation(eps=0.3, step_size=0.1, steps=4, attack=attack, alpha=0.6, temperature=2.0)
    torch.manual_seed(5)
    found = method.step(OneStep(student, teacher), make_batch(inputs, labels))
    torch.manual_seed(5)
    noise = torch.empty(items, SIZE, dtype=torch.float64).uniform_(-0.3, 0.3)
    clean, moved = [], []
    for item, label, start in zip(inputs, labels.tolist(), noise, strict=True):
        target = formulas.logits(teacher, item)

        def damage(at: Tensor, target: list[float] = target, label: int = label) -> float:
            answer = formulas.logits(student, at)
            return formulas.cross_entropy(answer, label) if attack == "ce" else formulas.kl(target, answer, 2.0)

        end = formulas.pgd(damage, item, start, eps=0.3, step_size=0.1, steps=4)
        moved.append(formulas.kl(target, formulas.logits(student, end), 2.0))
        clean.append(formulas.cross_entropy(formulas.logits(student, item), label))
    expected = {"ce": 0.4 * formulas.mean(clean), "kd": 0.6 * formulas.mean(moved)}
    assert numbers(found) == pytest.approx(expected, **CLOSE)


def test_ard_without_labels_does_not_run_the_student_on_clean_items():
    seen = []

    class Watched(OneStep):
        def student_outputs(self, batch):
            seen.append(batch.inputs)
            return super().student_outputs(batch)

    inputs = randn(3, SIZE)
    batch = make_batch(inputs, torch.tensor([0, 1, 2]))
    terms = RobustDistillation(alpha=1, steps=3).step(Watched(network(1, 4), network(2, 4)), batch)
    assert list(terms) == ["kd"]
    assert len(seen) == 3 + 1
    assert not any(each.equal(inputs) for each in seen)


def test_ards_attack_leaves_batch_norm_and_the_students_mode_alone():
    student = nn.Sequential(nn.Linear(SIZE, 6), nn.BatchNorm1d(6), nn.Linear(6, 4)).double()
    method = RobustDistillation(steps=4)
    method.step(OneStep(student, network(2, 4)), make_batch(randn(3, SIZE), torch.tensor([0, 1, 2])))
    assert student.training
    assert int(student[1].num_batches_tracked) == 2, "the clean and the moved items, once each"


def test_ard_asks_to_be_measured_at_its_own_eps():
    assert RobustDistillation(eps=0.25).measures == ("robust_accuracy:0.25",)


# ---- bss

ATTACK: dict[str, Any] = {"steps": 6, "rate": 0.5, "margin": 0.1, "reach": 1.5}


def rightly_labelled(classes: int, items: int, *models: nn.Module) -> tuple[Tensor, Tensor]:
    """Items that all models give the same class, and one more with a label that is none's."""
    inputs = randn(200, SIZE, seed=8)
    answers = torch.stack([model(inputs).argmax(1) for model in models])
    kept = inputs[(answers == answers[0]).all(0)][:items]
    labels = models[0](kept).argmax(1)
    return torch.cat([kept, kept[:1]]), torch.cat([labels, (labels[:1] + 1) % classes])


@pytest.mark.parametrize(("classes", "items"), [(2, 1), (2, 5), (4, 5)])
def test_bss_is_the_formula_at_items_moved_over_the_teachers_boundary(classes, items):
    student, teacher = network(1, classes), network(2, classes)
    inputs, labels = rightly_labelled(classes, items, student, teacher)
    method = BoundarySamples(**ATTACK, weight=3.0, until=0.5, kd=0.7, temperature=2.0)
    torch.manual_seed(5)
    found = method.step(OneStep(student, teacher), make_batch(inputs, labels, progress=0.125))
    others = [
        [0.0 if place == label else p for place, p in enumerate(formulas.softmax(formulas.logits(teacher, item)))]
        for item, label in zip(inputs, labels.tolist(), strict=True)
    ]
    torch.manual_seed(5)
    towards = torch.multinomial(torch.tensor(others, dtype=torch.float64), 1).flatten().tolist()
    gaps, ce, kd = [], [], []
    for item, label, target in zip(inputs, labels.tolist(), towards, strict=True):
        theirs, ours = (formulas.logits(model, item) for model in (teacher, student))
        ce.append(formulas.cross_entropy(ours, label))
        kd.append(formulas.kl(theirs, ours, 2.0))
        moved = formulas.to_the_boundary(teacher, item, label, target, **ATTACK)
        there = formulas.logits(teacher, moved)
        both_right = theirs.index(max(theirs)) == ours.index(max(ours)) == label
        if both_right and there.index(max(there)) == target:
            gaps.append(formulas.kl(there, formulas.logits(student, moved), 2.0))
    assert gaps
    expected = {
        "ce": formulas.mean(ce), "kd": 0.7 * formulas.mean(kd), "bss": 3 * (1 - 0.125 / 0.5) * formulas.mean(gaps)
    }  # fmt: skip
    assert numbers(found) == pytest.approx(expected, rel=1e-4)


def test_bss_finds_items_just_over_the_boundary():
    teacher = network(2, 4)
    inputs, labels = rightly_labelled(4, 60, teacher)
    method, batch = BoundarySamples(), make_batch(inputs[:-1], labels[:-1])
    torch.manual_seed(0)
    moved, logits, found = method.boundary(teacher, batch, teacher(inputs[:-1]).detach())
    assert found.double().mean() > 0.5
    assert logits.equal(teacher(moved).detach())
    top = logits[found].topk(2).values
    assert (top[:, 0] - top[:, 1]).median() < 0.5
    assert (moved - batch.inputs).abs().max() <= method.reach


def test_bss_attacks_no_more_when_its_weight_is_gone():
    runner = OneStep(network(1, 4), network(2, 4))
    inputs, labels = rightly_labelled(4, 5, runner.student, runner.teacher)
    method = BoundarySamples(steps=3)
    terms = method.step(runner, make_batch(inputs, labels, progress=0.5))
    assert runner.passes == 3 + 1
    assert terms["bss"] > 0
    terms = method.step(runner, make_batch(inputs, labels, progress=0.75))
    assert runner.passes == 3 + 1
    assert terms["bss"] == 0


def test_bss_without_an_item_that_both_know_is_zero():
    student, teacher = network(1, 4), network(2, 4)
    inputs = randn(3, SIZE)
    terms = BoundarySamples().step(OneStep(student, teacher), make_batch(inputs, (teacher(inputs).argmax(1) + 1) % 4))
    assert terms["bss"] == 0
    assert sum(terms.values()).requires_grad


def test_bss_with_a_teacher_that_answers_the_same_everywhere_stays_finite():
    student, teacher = network(1, 4), network(2, 4)
    nn.init.zeros_(teacher[2].weight)
    inputs = randn(6, SIZE)
    batch = make_batch(inputs, teacher(inputs).argmax(1))
    terms = BoundarySamples().step(OneStep(student, teacher), batch)
    sum(terms.values()).backward()
    assert all(value.grad.isfinite().all() for value in student.parameters())


def test_bss_refuses_models_with_different_views():
    with pytest.raises(kdbench.MethodRefused, match=r"method 'bss' .* see different views"):
        BoundarySamples().check(made_pair(shared_view=False))


# ---- all


@pytest.mark.parametrize("items", [1, 3])
def test_gradients_of_the_students_logits_against_a_discriminator_are_those_of_finite_differences(items):
    labels, target, scores = torch.arange(items), randn(items, 4, seed=2), randn(items, 4, seed=3)
    batch = make_batch(randn(items, SIZE), labels)
    xu, kdgan = ready(ConditionalAdversarial()), ready(ThreePlayers())
    ours = randn(items, 4, seed=1).requires_grad_()
    theirs = target.clone().requires_grad_()

    def game(mine: Tensor, others: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(4)
        terms = kdgan.imitation(batch, mine, others, scores, kdgan.guesses(mine), kdgan.guesses(others))
        return tuple(terms[name] for name in ("ce", "adversarial", "teacher_ce", "teacher_adversarial"))

    assert torch.autograd.gradcheck(lambda mine: sum(xu.imitation(batch, mine, target).values()), (ours,))
    assert torch.autograd.gradcheck(game, (ours, theirs))
    for name, mine, others in (("kd", ours, theirs.detach()), ("teacher_kd", ours.detach(), theirs)):

        def taught(mine: Tensor, others: Tensor, name: str = name) -> Tensor:
            return kdgan.imitation(batch, mine, others, scores, scores.softmax(1), scores.softmax(1))[name]

        assert torch.autograd.gradcheck(taught, (mine, others))


@pytest.mark.parametrize("method", [RobustDistillation(steps=3), BoundarySamples(steps=3)], ids=["ard", "bss"])
def test_gradients_of_the_student_under_an_attack_are_those_of_finite_differences(method):
    student, teacher = network(1, 4), network(2, 4)
    inputs, labels = rightly_labelled(4, 3, student, teacher)

    def total(*weights: Tensor) -> Tensor:
        torch.manual_seed(6)
        return sum(method.step(OneStep(student, teacher), make_batch(inputs, labels)).values())

    assert torch.autograd.gradcheck(total, tuple(student.parameters()), fast_mode=True)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (ConditionalAdversarial, {"lr": 0}), (ThreePlayers, {"alpha": 2}), (ThreePlayers, {"concrete": 0}),
        (RobustDistillation, {"eps": 0}), (RobustDistillation, {"steps": 0}), (RobustDistillation, {"attack": "l2"}),
        (BoundarySamples, {"rate": 1.5}), (BoundarySamples, {"until": 0}),
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused_by_name(cls, params):
    with pytest.raises(kdbench.InvalidParameter, match=next(iter(params))):
        cls(**params)


def test_the_plugin_registers_methods_and_metric(catalog):
    entries = {entry.name: entry for entry in catalog.of_plugin("adversarial") if entry.kind == "method"}
    assert {name: entry.load() for name, entry in entries.items()} == {
        "xu_gan": ConditionalAdversarial, "kdgan": ThreePlayers, "ard": RobustDistillation, "bss": BoundarySamples
    }  # fmt: skip
    assert {entry.metadata["family"] for entry in entries.values()} == {"adversarial"}
    metrics = [entry.name for entry in catalog.of_plugin("adversarial") if entry.kind == "metric"]
    assert metrics == ["robust_accuracy"]


def test_registering_and_checking_a_plan_do_not_import_torch():
    code = (
        "import sys, kdbench_adversarial as plugin\n"
        "ignore = lambda *arguments, **metadata: None\n"
        "plugin.kdbench_register_methods(ignore); plugin.kdbench_register_metrics(ignore)\n"
        "from kdbench_adversarial import boundary, conditional, robust, robustness, three_players\n"
        "robustness.robust_accuracy('0.1'); robust.RobustDistillation().measures\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
