"""The adversarial methods in training, on digits; and what their runs are measured by."""

from __future__ import annotations

import pytest
from small_training import Trained, check_falls, check_moved, check_same, different

from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.run import execute_run
from kdbench.plan import Repeats, make_plan
from kdbench.report.leaderboard import leaderboards
from kdbench.select import Selection
from kdbench.testing import check_method
from kdbench_adversarial.boundary import BoundarySamples
from kdbench_adversarial.conditional import ConditionalAdversarial
from kdbench_adversarial.robust import RobustDistillation
from kdbench_adversarial.robustness import robust_accuracy
from kdbench_adversarial.three_players import ThreePlayers
from kdbench_classic.baselines import Scratch

METHODS = [ConditionalAdversarial, ThreePlayers, RobustDistillation, BoundarySamples]
FALLING = {
    ConditionalAdversarial: {"ce", "l1", "discriminator"},
    ThreePlayers: {"ce", "kd", "teacher_ce", "discriminator"},
    RobustDistillation: {"ce", "kd"},
    BoundarySamples: {"ce", "kd", "bss"},
}
STRONG = {"eps": 0.3, "step_size": 0.1, "steps": 5}


@pytest.fixture(scope="module")
def distilled(digits_bench) -> dict[type, Trained]:
    return {cls: digits_bench.distil(cls()) for cls in METHODS}


@pytest.mark.parametrize("cls", METHODS)
def test_a_method_trains_and_what_it_minimises_falls(digits_bench, distilled, cls):
    first, last = distilled[cls].history
    check_falls([first, last], FALLING[cls] | {"val_loss"})
    assert last["val_accuracy"] > max(0.4, first["val_accuracy"])
    assert not digits_bench.train.student.requires_grad


@pytest.mark.parametrize("cls", METHODS)
def test_the_same_seed_gives_the_same_bits(digits_bench, distilled, cls):
    check_same(digits_bench.distil(cls()), distilled[cls])


@pytest.mark.parametrize("cls", METHODS)
def test_only_kdgans_teacher_learns_and_on_a_copy_of_its_own(digits_bench, distilled, cls):
    moved = different(distilled[cls].teacher, digits_bench.teacher)
    assert moved == (set(digits_bench.teacher.state_dict()) if cls is ThreePlayers else set())


@pytest.mark.parametrize("cls", [ConditionalAdversarial, ThreePlayers])
def test_the_discriminator_learns(distilled, cls):
    check_moved(distilled[cls])
    assert distilled[cls].built
    assert all(parameter.requires_grad for parameter in distilled[cls].trainer.method.module.parameters())


def test_the_teacher_runs_once_a_step_and_for_bss_once_more_for_each_step_of_the_attack(distilled):
    for cls, done in distilled.items():
        passes = done.trainer.teacher.forward_samples / done.trainer.samples
        # Of two epochs bss has its attack in one and a half.
        assert passes == 1 if cls is not BoundarySamples else 9 < passes < 1 + 11 * 0.8


def test_bss_falls_by_more_than_its_weight(distilled):
    first, last = (row["bss"] for row in distilled[BoundarySamples].history)
    weights = [sum(max(0.0, 1 - (epoch * 17 + step) / 34 / 0.75) for step in range(17)) for epoch in (0, 1)]
    assert last / weights[1] < first / weights[0]


def test_ards_student_withstands_the_attack_better_than_one_that_was_never_attacked(digits_bench):
    held = {}
    for method in (Scratch(), RobustDistillation(**STRONG)):
        student = digits_bench.distil(method, epochs=8).student.eval()
        seen = digits_bench.validation
        held[type(method)] = robust_accuracy("0.3")(student, seen.student, seen.labels)
    assert held[RobustDistillation] > held[Scratch] + 0.1


@pytest.mark.parametrize("cls", METHODS)
def test_each_keeps_the_promises_of_a_method(cls):
    check_method(cls)


def test_robust_accuracy_is_in_the_records_of_ard_and_of_whoever_is_asked_and_on_the_leaderboard(catalog, tmp_path):
    settings = ("epochs=2", "teacher_recipe.epochs=2", "ard.eps=0.2", "ard.steps=2")
    selection = Selection(dataset=("wine",), method=("scratch", "ard"))
    context = RunContext(catalog, tmp_path, plugins={}, workers=1)

    def records(**repeats):
        runs = make_plan(catalog, selection, settings, Repeats(seeds=(0,), **repeats)).runs
        return {run.combo.method: execute_run(run, context, EpochListener())[0] for run in runs}

    own = records()
    assert {record.status for record in own.values()} == {"ok"}
    assert "robust_accuracy:0.2" not in own["scratch"].metrics
    assert 0 <= own["ard"].metrics["robust_accuracy:0.2"] <= own["ard"].metrics["accuracy"]
    asked = records(measures=("robust_accuracy:0.2",))
    assert asked["ard"].metrics == own["ard"].metrics
    assert asked["scratch"].run_id != own["scratch"].run_id
    (board,) = leaderboards(asked.values(), metric="robust_accuracy:0.2")
    assert {row.method: row.mean for row in board.rows} == {
        method: record.metrics["robust_accuracy:0.2"] for method, record in asked.items()
    }
    assert next(row for row in board.rows if row.method == "ard").difference is not None
