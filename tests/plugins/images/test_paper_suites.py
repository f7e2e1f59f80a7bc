"""The papers' benchmarks on CIFAR-10, Tiny-ImageNet and ImageNet: pairs, recipes, figures, and every method run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.engine import cost
from kdbench.engine.context import EpochListener, RunContext
from kdbench.engine.optim import lr_factor, make_optimizer
from kdbench.engine.pairs import refusals
from kdbench.engine.run import execute_run
from kdbench.plan import Repeats, make_plan
from kdbench.records import Throughput
from kdbench.select import Selection
from kdbench_images import imagenets

PAIRS = {
    "cifar10-paper": {"wrn-16-2->wrn-16-1", "wrn-40-1->wrn-16-1", "wrn-40-2->wrn-16-2"},
    "tiny-imagenet-paper": {"resnet32x4->resnet8x4", "wrn-40-2->wrn-16-2", "vgg13->vgg8"},
    "imagenet-paper": {"imagenet-resnet34->imagenet-resnet18", "imagenet-resnet50->imagenet-mobilenetv1"},
}
# Typed again from the sources: per cent, by method and teacher.
ERRORS = {
    ("scratch", "wrn-16-2"): 8.77, ("at", "wrn-16-2"): 7.93,
    ("scratch", "wrn-40-1"): 8.77, ("at", "wrn-40-1"): 8.25, ("kd", "wrn-40-1"): 8.39,
    ("scratch", "wrn-40-2"): 6.31, ("at", "wrn-40-2"): 5.85, ("kd", "wrn-40-2"): 6.08,
}  # fmt: skip
TOP_1 = {
    "imagenet-resnet34": {
        "teacher": 73.31, "scratch": 69.76, "kd": 71.03, "at": 70.7, "crd": 71.17, "reviewkd": 71.61, "dkd": 71.7,
        "dist": 72.07,
    },
    "imagenet-resnet50": {
        "teacher": 76.16, "scratch": 68.87, "kd": 70.5, "ofd": 71.25, "reviewkd": 72.56, "dkd": 72.05,
    },
}  # fmt: skip
SHORT = (
    "recipe.epochs=2", "recipe.batch_size=8", "recipe.lr=0.01",
    "teacher_recipe.epochs=1", "teacher_recipe.batch_size=8", "teacher_recipe.lr=0.01",
)  # fmt: skip
CLASSES = 3


def planned(catalog, suite: str, *settings: str):
    return make_plan(catalog, Selection(suite=suite), settings, Repeats(seeds=(0,))).runs


@pytest.mark.parametrize("suite", PAIRS)
def test_every_pair_has_every_method(catalog, suite):
    runs = planned(catalog, suite)
    assert {run.combo.pair for run in runs} == PAIRS[suite]
    of_pair = [{run.combo.method for run in runs if run.combo.pair == pair} for pair in PAIRS[suite]]
    assert all(methods == of_pair[0] for methods in of_pair)
    assert {"scratch", "kd", "at"} <= of_pair[0]
    assert {run.combo.dataset for run in runs} == {suite}


def test_they_are_not_part_of_all(catalog):
    plan = make_plan(catalog, Selection(all=True), (), Repeats(seeds=(0,)))
    assert not {run.combo.dataset for run in plan.runs} & set(PAIRS)
    left = {one.name: one.fix for one in plan.not_run}
    assert all(left[suite] == f"kdbench run --suite {suite}" for suite in PAIRS)


@pytest.mark.parametrize(
    ("suite", "epochs", "decays", "factor", "base", "batch_size", "weight_decay", "augment"),
    [
        ("cifar10-paper", 200, (60, 120, 160), 0.2, 0.1, 128, 5e-4, ("crop", "flip")),
        ("tiny-imagenet-paper", 240, (150, 180, 210), 0.1, 0.05, 64, 5e-4, ("crop", "flip")),
        ("imagenet-paper", 100, (30, 60, 90), 0.1, 0.1, 256, 1e-4, ("resized-crop", "flip")),
    ],
)
def test_students_and_teachers_are_trained_as_in_the_papers(
    catalog, suite, epochs, decays, factor, base, batch_size, weight_decay, augment
):
    for run in planned(catalog, suite):
        for recipe in (run.recipe, run.teacher_recipe):
            assert (recipe.epochs, recipe.batch_size, recipe.augment) == (epochs, batch_size, augment)
            assert (recipe.select, recipe.warmup_epochs, recipe.clip_norm, recipe.ema) == ("last", 0, None, None)
            (group,) = make_optimizer([torch.nn.Parameter(torch.zeros(2))], recipe).param_groups
            assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, weight_decay, False)
    for epoch in range(1, epochs + 1):  # as the papers count
        expected = base * factor ** sum(epoch > decay for decay in decays)
        for step in (10 * epoch - 10, 10 * epoch - 1):
            found = recipe.lr * lr_factor(recipe, step, 10 * epochs, 10)
            assert found == pytest.approx(expected, rel=1e-12)


def test_figures_of_cifar_10_are_the_accuracies_of_the_papers_errors(catalog):
    teachers = {"wrn-16-2": 6.31, "wrn-40-1": 6.58, "wrn-40-2": 5.23}
    found = {}
    for run in planned(catalog, "cifar10-paper"):
        for figure in run.published:
            error = ERRORS[run.combo.method, run.combo.teacher]
            assert figure.value == pytest.approx(1 - error / 100, abs=1e-9)
            assert figure.teacher == pytest.approx(1 - teachers[run.combo.teacher] / 100, abs=1e-9)
            assert f"an error of {error} %; median of 5 runs" in figure.protocol
            found[run.combo.method, run.combo.teacher] = error
    assert found == ERRORS


def test_figures_of_imagenet_are_the_sources(catalog):
    found = {teacher: {"teacher": expected["teacher"]} for teacher, expected in TOP_1.items()}
    for run in planned(catalog, "imagenet-paper"):
        for figure in run.published:
            found[run.combo.teacher][run.combo.method] = round(100 * figure.value, 2)
            if run.combo.method != "at":  # whose teacher's figure is not known
                assert figure.teacher == pytest.approx(TOP_1[run.combo.teacher]["teacher"] / 100, abs=1e-9)
    assert found == TOP_1


def test_tiny_imagenet_has_no_figures(catalog):
    assert {run.published for run in planned(catalog, "tiny-imagenet-paper")} == {()}


def test_the_weights_on_imagenet_are_the_authors(catalog):
    params = {run.name.removeprefix("imagenet-paper/"): run.params for run in planned(catalog, "imagenet-paper")}
    same, cross = "imagenet-resnet34->imagenet-resnet18", "imagenet-resnet50->imagenet-mobilenetv1"
    for pair, beta, weight, width in ((same, 0.5, 1.0, 512), (cross, 2.0, 8.0, 256)):
        assert params[f"{pair}/dkd"] == {"temperature": 1.0, "alpha": 1.0, "beta": beta, "ce": 1.0, "warmup": 1}
        review = params[f"{pair}/reviewkd"]
        assert (review["weight"], review["warmup"], review["width"]) == (weight, 1, width)
        assert list(review["student_layers"]) == ["stage1", "stage2", "stage3", "stage4", "penultimate"]
        assert params[f"{pair}/kd"] == {"temperature": 1.0, "alpha": 0.5}
        assert list(params[f"{pair}/at"]["teacher_layers"]) == ["stage1", "stage2", "stage3", "stage4"]
        assert params[f"{pair}/ofd"]["weight"] == 1e-4
        assert params[f"{pair}/dist"]["temperature"] == 1.0


def save(path, number: int, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


def on_the_hub(root, monkeypatch) -> None:
    """CIFAR-10 in the hub's columns and splits, with sixty pictures of each of three classes to train on."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
    names = ["cat", "dog", "emu"]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    parts = datasets.DatasetDict()
    for split, of_each in (("train", 60), ("test", 3)):
        stream = np.random.default_rng(of_each)
        pictures = stream.integers(0, 256, (CLASSES * of_each, 16, 16, 3), dtype=np.uint8)
        rows = {"img": [Image.fromarray(one) for one in pictures], "label": list(range(CLASSES)) * of_each}
        parts[split] = datasets.Dataset.from_dict(rows, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: parts)


def as_its_archive(root, monkeypatch) -> None:
    """Tiny-ImageNet with twelve pictures of each of three classes to train on."""
    directory, number = root / "tiny-imagenet", 0
    wnids = [f"n{label:02d}" for label in range(CLASSES)]
    for wnid in wnids:
        for _ in range(12):
            save(directory / f"train/{wnid}/images/{number}.png", number, 16)
            number += 1
    lines = []
    for label in [*range(CLASSES)] * 3:
        save(directory / f"val/images/{number}.png", number, 16)
        lines.append(f"{number}.png\t{wnids[label]}\t0\t0\t9\t9\n")
        number += 1
    (directory / "wnids.txt").write_text("\n".join(wnids))
    (directory / "val/val_annotations.txt").write_text("".join(lines))


def in_directories(root, monkeypatch) -> None:
    """ImageNet with twelve pictures of each of three classes to train on, read in squares of 32 pixels."""
    number = 0
    for part, of_each in (("train", 12), ("val", 3)):
        for label in range(CLASSES):
            for _ in range(of_each):
                save(root / "imagenet-1k" / part / f"n{label:02d}" / f"{number}.png", number, 40)
                number += 1
    whole = imagenets.imagenet
    monkeypatch.setattr(imagenets, "imagenet", lambda: whole(32))


STAND_INS = {
    "cifar10-paper": (on_the_hub, {"train": 30, "validation": 150, "test": 9}),
    "tiny-imagenet-paper": (as_its_archive, {"train": 21, "validation": 15, "test": 9}),
    "imagenet-paper": (in_directories, {"train": 21, "validation": 15, "test": 9}),
}


@pytest.fixture
def context(request, catalog, tmp_path, monkeypatch):
    """Where the suite's dataset is a small one of the same layout."""
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(cost, "measure_throughput", lambda model, inputs: Throughput())  # half a second each
    STAND_INS[request.param][0](tmp_path, monkeypatch)
    return RunContext(catalog, tmp_path / "results", plugins={}, workers=1)


@pytest.mark.parametrize(("context", "suite"), [(suite, suite) for suite in PAIRS], indirect=["context"])
def test_every_method_runs_from_beginning_to_end_on_a_small_set_of_the_same_layout(context, catalog, suite):
    runs = planned(catalog, suite, *SHORT)
    assert refusals(runs, context) == {}
    dataset = context.data(runs[0], torch.device("cpu")).dataset
    found = {split: len(getattr(dataset, split).labels) for split in ("train", "validation", "test")}
    assert found == STAND_INS[suite][1]
    pairs = {"wrn-40-2->wrn-16-2"} if suite == "tiny-imagenet-paper" else PAIRS[suite]
    for run in runs:
        if run.combo.pair in pairs:
            record, _ = execute_run(run, context, EpochListener())
            assert record.status == "ok", (run.name, record.error)
            assert len(record.history) == 2, run.name


@pytest.mark.parametrize("context", ["imagenet-paper"], indirect=True)
def test_imagenet_is_standardised_as_published_weights_expect(context, catalog):
    run = planned(catalog, "imagenet-paper")[0]
    raw = imagenets.imagenet().views()["input"]
    split = context.data(run, torch.device("cpu")).dataset.test
    mean, deviation = (np.array(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = (raw[split.index.numpy()] / 255 - mean) / deviation
    np.testing.assert_allclose(split.inputs["input"].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_suite_whose_data_is_not_there_is_not_run_and_says_how_to_get_it(kdbench, monkeypatch):
    for offline in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(offline, "1")
    chosen = [part for suite in PAIRS for part in ("--dataset", suite)]
    done = kdbench("run", *chosen, "--method", "kd", "--seeds", 1, "--dry-run")
    assert done.returncode == 0, done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("not run: ")]
    assert [line.split(": ")[1] for line in said] == list(PAIRS)
    assert all("is not on this machine" in line and "; get it with: " in line for line in said)
