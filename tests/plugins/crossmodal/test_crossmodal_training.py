"""The cross-modal methods in training: on two views of the multi-view digits, and on digits in two scripts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import check_training, make_bench

import kdbench
from kdbench_crossmodal.contrast import ContrastiveCrossModal
from kdbench_crossmodal.multilingual import Multilingual
from kdbench_crossmodal.soft import CrossSoft
from kdbench_crossmodal.supervision import SupervisionTransfer
from kdbench_data.bundled import digits, mfeat
from kdbench_models.mlp import mlp_m, mlp_s

RECIPE = kdbench.Recipe(epochs=4, batch_size=64, select="last")


@pytest.fixture(scope="module")
def views():
    """A teacher of profile correlations, students of Zernike moments."""
    return make_bench(mfeat(), views=("zer", "fac"), teacher=mlp_m, student=mlp_s, recipe=RECIPE)


@pytest.fixture(scope="module")
def scripts():
    """Digits in two scripts, as a language has one: the pixels, and the pixels in another fixed order."""
    plain = digits()
    images = plain.inputs.reshape(len(plain.labels), -1)
    order = np.random.RandomState(0).permutation(images.shape[1])
    data = kdbench.Data({"source": images, "target": images[:, order]}, plain.labels, plain.classes)
    return make_bench(data, views=("target", "source"), teacher=mlp_m, student=mlp_s, recipe=RECIPE)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (CrossSoft, {}),
        (CrossSoft, {"labelled": 0.1}),
        (SupervisionTransfer, {}),
        (SupervisionTransfer, {"student_layers": ("penultimate",), "teacher_layers": ("penultimate",)}),
        (ContrastiveCrossModal, {}),
        (ContrastiveCrossModal, {"negatives": "other-class", "ce": 0}),
    ],
)
def test_a_method_trains_across_views(views, cls, params):
    answers = params.get("ce", 1) > 0
    found = check_training(views, lambda: cls(**params), answers=answers, finetune_epochs=0 if answers else 1)
    if answers:
        assert found.history[-1]["val_accuracy"] > 0.4


def test_soft_labels_across_views_read_no_label(views):
    spoilt = replace(views, train=replace(views.train, labels=views.train.labels.roll(7)))
    one, other = (where.distil(CrossSoft()) for where in (views, spoilt))
    assert one.history == other.history
    few, fewer = (where.distil(CrossSoft(labelled=0.1)) for where in (views, spoilt))
    assert few.history != fewer.history


def test_few_labels_and_soft_ones_beat_few_labels(views):
    alone, helped = (
        views.distil(CrossSoft(labelled=0.02, **params), epochs=10).history[-1]["val_accuracy"]
        for params in ({"weight": 0}, {})
    )
    assert helped > alone + 0.1


def test_supervision_transfer_reads_labels_in_its_second_stage_alone(views):
    history = views.distil(SupervisionTransfer()).history
    assert ["match" in row for row in history] == [True, True, False, False]
    assert ["ce" in row for row in history] == [False, False, True, True]


@pytest.mark.parametrize("cls", [ContrastiveCrossModal, Multilingual])
def test_without_labels_no_epoch_is_chosen(scripts, cls):
    recipe = {"epochs": 3, "select": "best", "patience": 1, "finetune_epochs": 2}
    trainer = scripts.distil(cls(ce=0), **recipe).trainer
    assert [len(trainer.history), trainer.selected_epoch] == [3, 2]


@pytest.mark.parametrize("method", [ContrastiveCrossModal(ce=0), Multilingual(ce=0)])
def test_without_labels_a_fine_tune_is_needed(scripts, method):
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)answers would never be trained.*or leave out .*\.ce=0"):
        scripts.distil(method)


def test_supervision_transfer_alone_takes_the_last_epoch(views):
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)answers would never be trained.*\.matching=1"):
        views.distil(SupervisionTransfer(matching=1))
    recipe = {"epochs": 2, "select": "best", "patience": 1, "finetune_epochs": 2}
    trainer = views.distil(SupervisionTransfer(matching=1), **recipe).trainer
    assert trainer.selected_epoch == 1
    assert all("ce" not in row for row in trainer.history)


@pytest.mark.parametrize("params", [{}, {"ce": 0}])
def test_multilingual_trains_on_two_scripts(scripts, params):
    recipe = {"finetune_epochs": 1} if "ce" in params else {}
    found = check_training(scripts, lambda: Multilingual(**params), answers="ce" not in params, **recipe)
    assert {"source", "target"} <= found.history[-1].keys()
    assert ("ce" in found.history[-1]) == ("ce" not in params)


def test_a_multilingual_students_embeddings_of_both_scripts_are_its_teachers(scripts):
    method = Multilingual(weight=10)
    student = scripts.distil(method, epochs=12).student.eval()
    seen, other = scripts.validation.teacher, scripts.validation.student
    with torch.no_grad():
        wanted = _embedding(scripts.teacher, seen)
        for inputs in (seen, other):
            gap = (method.module(_embedding(student, inputs)) - wanted).square().mean()
            assert gap < 0.5 * (wanted - wanted.mean(0)).square().mean(), "better than the mean embedding"


def _embedding(model, inputs):
    for stage in ("stem", *model.stage_names):
        inputs = getattr(model, stage)(inputs)
    return inputs


def test_multilingual_refuses_views_of_two_shapes(views):
    with pytest.raises(kdbench.MethodRefused, match=r"read the teacher's view too[\s\S]*\(216,\)[\s\S]*\(47,\)"):
        views.trainer(Multilingual())


def test_a_run_tells_a_method_both_views(kdbench_command, tmp_path):
    result = kdbench_command(
        "run", "--dataset", "mfeat", "--teacher", "mlp-s", "--student", "mlp-s", "--method", "multilingual", "--seeds",
        "1", "--out", tmp_path, "--set", "teacher_view=fac", "--set", "student_view=mor", "--set", "recipe.epochs=1",
        "--set", "teacher_recipe.epochs=1",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "view 'fac' have shape (216,), of view 'mor' (6,)" in result.stderr
