"""The logit methods in training: on digits with the smallest models, through the plugin as kdbench loads it."""

from __future__ import annotations

from typing import Any

import pytest
from logit_cases import method_class
from small_training import Bench, check_training, make_bench

import kdbench
from kdbench.testing import check_method
from kdbench_data.bundled import digits
from kdbench_logits import METHODS
from kdbench_models.cnn import cnn_s
from kdbench_models.mlp import mlp_s

PARAMETERS: dict[str, dict[str, Any]] = {
    "dkd": {"warmup": 0},  # while it warms up, the term rises with its weight
    # A new student's even answer is close to what these match, and the labels pull away from it: the term prevails only
    # with a larger weight.
    "tf_kd": {"alpha": 0.9},
    "nkd": {"gamma": 10.0},
    "ttm": {"weight": 10.0},
}


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Digits, and a teacher with batch norm that has learnt them a little."""
    recipe = kdbench.Recipe(epochs=2, batch_size=32, optimizer="adam", lr=5e-3, select="last")
    return make_bench(digits(), teacher=cnn_s, student=mlp_s, recipe=recipe)


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_its_own_terms_fall_while_the_teacher_stays_and_the_seed_decides_the_bits(bench, name):
    assert any(key.endswith("running_mean") for key in bench.teacher.state_dict())
    done = check_training(bench, lambda: method_class(name)(**PARAMETERS.get(name, {})), answers=False)
    assert done.own_terms & done.history[0].keys()
    assert done.history[-1]["val_accuracy"] > 0.5


@pytest.mark.parametrize("name", METHODS)
def test_each_keeps_the_promises_of_a_method(name):
    check_method(method_class(name))


def test_the_plugin_registers_every_method(catalog):
    entries = {entry.name: entry for entry in catalog.of_plugin("logits")}
    assert {name: entry.load() for name, entry in entries.items()} == {name: method_class(name) for name in METHODS}
    assert {entry.metadata["family"] for entry in entries.values()} == {"logit"}
