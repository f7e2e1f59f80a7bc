"""The papers' CIFAR-100 benchmark: pairs, recipes, weights and figures, against their own descriptions."""

from __future__ import annotations

import pytest
import torch

from kdbench.engine.augment import augmentation
from kdbench.engine.optim import lr_factor, make_optimizer
from kdbench.plan import Repeats, make_plan
from kdbench.select import Selection
from kdbench_images.cifar100 import CIFAR, CIFAR100, METHODS
from kdbench_images.cifar100_figures import SAME, TEACHERS

PAIRS = CIFAR100.pairs
# Typed from a survey of the papers' tables, apart from kdbench_images/cifar100_figures.py, for seven of the pairs.
SURVEYED = (
    "wrn-40-2->wrn-16-2", "wrn-40-2->wrn-40-1", "resnet56->resnet20", "resnet32x4->resnet8x4", "vgg13->vgg8",
    "resnet50->mobilenetv2", "resnet32x4->shufflenetv2",
)  # fmt: skip
SURVEY = {
    "teacher": "75.61 75.61 72.34 79.42 74.64 79.34 79.42",
    "scratch": "73.26 71.98 69.06 72.50 70.36 64.60 71.82",
    "kd": "74.92 73.54 70.66 73.33 72.98 67.35 74.45",
    "fitnet": "73.58 72.24 69.21 73.50 71.02 63.16 73.54",
    "at": "74.08 72.77 70.55 73.44 71.43 58.58 72.73",
    "sp": "73.83 72.43 69.67 72.94 72.68 68.08 74.56",
    "vid": "74.11 73.30 70.38 73.09 71.23 67.57 73.40",
    "rkd": "73.35 72.22 69.61 71.90 71.48 64.43 73.21",
    "pkt": "74.54 73.45 70.34 73.64 72.88 66.52 74.69",
    "crd": "75.48 74.14 71.16 75.51 73.94 69.11 75.65",
    "dkd": "76.24 74.81 71.97 76.32 74.68 70.35 77.07",
}


@pytest.fixture(scope="module")
def runs(catalog):
    return make_plan(catalog, Selection(suite="cifar100-paper"), (), Repeats(seeds=(0,), device="cuda")).runs


def test_every_pair_of_the_benchmark_has_every_method(runs):
    assert {run.combo.pair for run in runs} == set(PAIRS)
    for pair in PAIRS:
        found = {run.combo.method for run in runs if run.combo.pair == pair}
        without = set() if pair in SAME and pair != "wrn-40-2->wrn-40-1" else {"fsp"}
        without |= {"ab"} if pair == "resnet32x4->shufflenetv2" else set()
        assert found == set(METHODS) - without, pair


@pytest.mark.parametrize(("student", "base"), [("resnet20", 0.05), ("mobilenetv2", 0.01), ("shufflenetv1", 0.01)])
def test_the_rate_of_each_epoch_is_the_papers(runs, student, base):
    recipe = next(run.recipe for run in runs if run.combo.student == student)
    batches = 782  # of 64, in 50,000 items
    for epoch in range(1, 241):  # as the papers count
        expected = base * 0.1 ** sum(epoch > decay for decay in (150, 180, 210))
        for batch in (0, batches - 1):
            step = (epoch - 1) * batches + batch
            assert recipe.lr * lr_factor(recipe, step, 240 * batches, batches) == pytest.approx(expected, rel=1e-12)


def test_the_rest_of_the_recipe_is_the_papers(runs):
    for run in runs:
        assert (run.recipe.epochs, run.recipe.batch_size, run.recipe.select) == (240, 64, "last")
        assert (run.recipe.warmup_epochs, run.recipe.clip_norm, run.recipe.ema) == (0, None, None)
        (group,) = make_optimizer([torch.nn.Parameter(torch.zeros(2))], run.recipe).param_groups
        assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 5e-4, False)
        assert (run.teacher_recipe.lr, run.teacher_recipe_label) == (0.05, "cifar")


def test_crops_are_of_a_border_of_four_and_half_of_the_items_are_mirrored():
    ramp = torch.arange(1.0, 33).expand(512, 1, 32, 32)  # 1 to 32 from left to right
    moved = augmentation(CIFAR.augment)(ramp, torch.Generator().manual_seed(0))[:, 0, 16]
    mirrored = moved[:, 20] < moved[:, 10]
    assert 0.4 < mirrored.float().mean() < 0.6
    left = torch.where(mirrored[:, None], moved.flip(1), moved)
    assert {int(row[8]) - 9 for row in left} == set(range(-4, 5))


def test_figures_agree_with_a_survey_typed_apart():
    for method, row in SURVEY.items():
        for pair, value in zip(SURVEYED, row.split(), strict=True):
            if method == "teacher":
                assert TEACHERS[pair.partition("->")[0]] == float(value)
            else:
                assert CIFAR100.published(pair, method).value == pytest.approx(float(value) / 100, abs=1e-9), (
                    method,
                    pair,
                )
    dist = {"resnet56->resnet20": 71.75, "resnet32x4->resnet8x4": 76.31, "resnet50->mobilenetv2": 68.66}
    assert all(CIFAR100.published(pair, "dist").value == pytest.approx(value / 100) for pair, value in dist.items())


def test_runs_carry_their_figures_with_source_and_protocol(runs):
    by_name = {run.name: run.published for run in runs}
    (figure,) = by_name["cifar100-paper/wrn-40-2->wrn-16-2/kd"]
    assert (figure.value, figure.teacher, figure.source) == (0.7492, 0.7561, "Tian et al. (2020), table 1")
    assert "5 runs" in figure.protocol
    assert "last of 240 epochs" in figure.protocol
    assert by_name["cifar100-paper/resnet32x4->resnet8x4/simkd"] == ()
    assert len([run for run in runs if run.combo.method == "scratch" and run.published]) == len(PAIRS)
    assert all(0.5 < figure.value < figure.teacher + 0.02 for run in runs for figure in run.published)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("resnet56->resnet20/dkd", {"beta": 2.0}),
        ("vgg13->vgg8/dkd", {"beta": 6.0}),
        ("resnet32x4->resnet8x4/dkd", {}),
        ("resnet32x4->shufflenetv2/reviewkd", {"weight": 8.0}),
        ("resnet56->resnet20/reviewkd", {"weight": 0.6}),
        ("wrn-40-2->wrn-16-2/kd", {}),
        ("wrn-40-2->wrn-16-2/crd", {}),
        ("wrn-40-2->wrn-16-2/ab", {}),
    ],
)
def test_weights_that_differ_from_the_defaults_are_set_by_the_combo(runs, name, overrides):
    run = next(run for run in runs if run.name == f"cifar100-paper/{name}")
    assert run.overrides == overrides


def test_what_takes_a_gpu_is_not_part_of_all(catalog):
    plan = make_plan(catalog, Selection(all=True), (), Repeats(seeds=(0,)))
    assert not {run.combo.dataset for run in plan.runs} & {"cifar100-paper", "imagenet-1k"}
    left = {one.name: one.fix for one in plan.not_run}
    assert left["cifar100-paper"] == "kdbench run --suite cifar100-paper"


def test_the_quick_suite_is_five_methods_on_three_datasets_and_all_takes_little_of_it(catalog):
    runs = make_plan(catalog, Selection(suite="images-quick"), (), Repeats(seeds=(0,))).runs
    assert {run.combo.dataset for run in runs} == {"digits", "mnist-5k", "fashion-mnist-6k"}
    assert len(runs) == 3 * 5
    everything = make_plan(catalog, Selection(all=True), (), Repeats(seeds=(0,))).runs
    mine = {run.combo.method for run in everything if run.name.startswith("fashion-mnist/")}
    assert mine == {"scratch", "label_smoothing", "kd", "logit_mse", "fitnet"}
    full = make_plan(catalog, Selection(suite="images"), (), Repeats(seeds=(0,))).runs
    assert {("resnet20", "resnet8"), ("cnn-l", "cnn-s")} <= {(run.combo.teacher, run.combo.student) for run in full}
