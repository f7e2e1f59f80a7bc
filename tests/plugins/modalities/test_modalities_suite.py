"""What the plugin registers fits together, and its combos on bundled data train."""

from __future__ import annotations

import pytest
from small_training import make_bench

from kdbench.data import DatasetInfo
from kdbench.engine.datasets import prepare
from kdbench.select import suites
from kdbench_data.bundled import mfeat
from kdbench_modalities import RECIPES, VARIANTS
from kdbench_models.mlp import mlp_m, mlp_s

PICTURE_VIEWS = {"image": (3, 32, 32), "image-features": (1280,), "text": (2048,), "text-zh": (2048,)}


@pytest.fixture(scope="module")
def combos(catalog):
    names = suites(catalog)
    return {
        name: catalog.find("combo", name).load()
        for suite in ("cross-modal", "cross-modal-quick")
        for name in names[suite]
    }


@pytest.fixture(scope="module")
def digits():
    return prepare("mfeat", mfeat(), fold=None, folds=None)


def test_every_combo_is_of_registered_things_and_of_views_that_its_models_take(catalog, combos, digits):
    for name, combo in combos.items():
        catalog.find("recipe", combo.recipe)
        catalog.find("method", combo.method).load()(**combo.params)
        for kind, model, view in (
            ("teacher", combo.teacher, combo.teacher_view),
            ("student", combo.student, combo.student_view),
        ):
            info = (
                digits.info(view)
                if combo.dataset == "mfeat"
                else DatasetInfo(combo.dataset, "multiclass", 8, PICTURE_VIEWS[view], 100, view)
            )
            assert catalog.find(kind, model).load()(info), name


def test_the_few_label_twins_differ_in_the_teacher_alone(combos):
    for name, combo in combos.items():
        if name.partition("@")[0].endswith("/scratch-few"):
            twin = combos[name.replace("scratch-few", "cross_soft-few")]
            assert {**twin.params, "weight": 0} == combo.params, name
            assert (twin.recipe, twin.pair, twin.method) == (combo.recipe, combo.pair, combo.method)


def test_the_quick_suite_is_shorter_training_of_the_same_kind(combos):
    full, quick = RECIPES["cross-modal"][0], RECIPES["cross-modal-quick"][0]
    assert quick.epochs < full.epochs
    assert (quick.optimizer, quick.lr, quick.batch_size) == (full.optimizer, full.lr, full.batch_size)
    used = {combo.recipe for combo in combos.values()}
    assert used == set(RECIPES)


def test_few_labels_gain_from_a_teacher_of_another_view(catalog):
    """The application's point, on real data: soft labels of one view against twenty times fewer labels alone."""
    recipe = RECIPES["multi-view"][0]
    bench = make_bench(mfeat(), teacher=mlp_m, student=mlp_s, views=("zer", "fac"), recipe=recipe)
    accuracy = {}
    for name in VARIANTS:
        method, params = VARIANTS[name]
        done = bench.distil(catalog.find("method", method).load()(**params), seed=1)
        accuracy[name] = max(row["val_accuracy"] for row in done.history)
    assert accuracy["cross_soft-few"] > accuracy["scratch-few"] + 0.05
