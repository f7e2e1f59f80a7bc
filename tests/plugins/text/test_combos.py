"""The suites of text and of cross-language: what they name exists, and their students fit the views they are given."""

from __future__ import annotations

import pytest

import kdbench
from kdbench.engine.models import build_model
from kdbench.plugins import load_plugins
from kdbench_text import pretrained

VIEWS = {"minilm": 384, "use-en": 512, "use-zh": 512}
CATALOG = load_plugins().catalog
COMBOS = {
    entry.name: entry.load()
    for entry in CATALOG.entries("combo")
    if {"text", "text-quick", "cross-language", "cross-language-quick"} & set(entry.metadata["suites"])
}


def test_the_suites_are_registered_with_a_twin_for_every_pair():
    assert {suite for entry in CATALOG.entries("combo") for suite in entry.metadata.get("suites", ())} >= {
        "text", "text-quick", "cross-language", "cross-language-quick",
    }  # fmt: skip
    twins = {(one.dataset, one.pair, one.recipe) for one in COMBOS.values() if one.method == "scratch"}
    assert {(one.dataset, one.pair, one.recipe) for one in COMBOS.values()} == twins


@pytest.mark.parametrize("pair", sorted({(c.dataset, c.teacher, c.teacher_view, c.student, c.student_view)
                                         for c in COMBOS.values()}))  # fmt: skip
def test_the_models_of_a_pair_can_be_built_for_their_views(pair, model_directory, monkeypatch):
    monkeypatch.setattr(pretrained, "minilm_directory", lambda: model_directory)
    name, teacher, teacher_view, student, student_view = pair
    dataset = CATALOG.find("dataset", name)
    task = dataset.metadata["task"]
    outputs = 512 if task == "retrieval" else dataset.metadata["classes"]
    for kind, model, view in (("teacher", teacher, teacher_view), ("student", student, student_view)):
        size = VIEWS.get(view, VIEWS.get(view.removesuffix("-en"), 16))
        info = kdbench.DatasetInfo(name, task, outputs, (size,), 100, view)
        assert build_model(CATALOG.find(kind, model), info) is not None


@pytest.mark.parametrize("name", sorted(COMBOS))
def test_every_method_accepts_its_parameters_and_the_task(name):
    combo = COMBOS[name]
    method = CATALOG.find("method", combo.method).load()
    method(**combo.params)
    assert CATALOG.find("dataset", combo.dataset).metadata["task"] in method.tasks
    for recipe in filter(None, (combo.recipe, combo.teacher_recipe)):
        CATALOG.find("recipe", recipe).load()
