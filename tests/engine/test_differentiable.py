"""Methods that differentiate at inputs, and models that have no gradient there: refused before any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.context import RunContext
from kdbench.engine.differentiable import check_gradient
from kdbench.engine.models import Side
from kdbench.engine.pairs import refusals
from kdbench.plan import Repeats, make_plan
from kdbench.select import Selection
from kdbench_text import data, sources

AT_INPUTS = ("jacobian", "sobolev", "zskt", "dafl", "ard", "bss")
LAYERS = ("grad_align.student_layer=penultimate", "grad_align.teacher_layer=penultimate")
INFO = DatasetInfo("made up", "multiclass", 3, (4,), 9, view="words")


def texts():
    """60 texts of two classes, as tokens."""
    draw = np.random.default_rng(0)
    labels = [n % 2 for n in range(60)]
    found = [f"{'ab'[n % 2]}{n} " + " ".join(f"c{draw.integers(30)}" for _ in range(4)) for n in range(60)]
    return data.assembled(data.prepared(found, labels, 8), ("a", "b"), sources.TWEETS)


def refused(catalog, directory, method, teacher, student, dataset="test_differentiable:texts", view="words"):
    selection = Selection(dataset=(dataset,), teacher=(teacher,), student=(student,), method=(method,))
    views = (f"teacher_view={view}", f"student_view={view}") if view else ()
    layers = LAYERS if method == "grad_align" and view else ()
    runs = make_plan(catalog, selection, [*views, *layers], Repeats(seeds=(0,))).runs
    reasons = refusals(runs, RunContext(catalog, directory, plugins={}, workers=1))
    assert list(directory.iterdir()) == []
    return next(iter(reasons.values()), "")


@pytest.mark.parametrize("model", ["textcnn-s", "gru-s"])
@pytest.mark.parametrize("method", [*AT_INPUTS, "grad_align"])
def test_a_model_that_looks_tokens_up_is_refused_by_method_model_and_view(catalog, tmp_path, method, model):
    reason = refused(catalog, tmp_path, method, model, model)
    side = "teacher" if method in {"dafl", "bss", "grad_align"} else "student"
    assert reason.startswith(
        f"refused before any training: method {method!r} cannot serve this pair: {side} {model!r} has no gradient at"
    )
    assert "view 'words' of dataset 'test_differentiable:texts'" in reason
    assert f"--set {side}_view=" in reason


def test_methods_that_differentiate_nothing_serve_such_models(catalog, tmp_path):
    for method in ("kd", "rkd", "tf_kd"):
        assert refused(catalog, tmp_path, method, "textcnn-s", "textcnn-s") == ""


@pytest.mark.parametrize(
    ("teacher", "student", "served"),
    [("textcnn-s", "mlp-s", {"ard"}), ("mlp-l", "textcnn-s", {"dafl", "bss"}), ("mlp-l", "mlp-s", set(AT_INPUTS))],
)
def test_the_model_that_a_method_differentiates_is_the_one_that_counts(catalog, tmp_path, teacher, student, served):
    """A network that takes the indices for numbers has a gradient at them: what works is not refused."""
    found = {method: refused(catalog, tmp_path, method, teacher, student) for method in AT_INPUTS}
    assert {method for method, reason in found.items() if not reason} == served
    assert all("has no gradient at its inputs" in reason for reason in found.values() if reason)


@pytest.mark.parametrize("method", [*AT_INPUTS, "grad_align"])
def test_networks_of_numbers_are_served(catalog, tmp_path, method):
    assert refused(catalog, tmp_path, method, "mlp-l", "mlp-s", "wine", None) == ""


def checked(model: nn.Module, example: torch.Tensor) -> None:
    check_gradient("m", "teacher", model, Side(Entry("teacher", "t", lambda info: model, "tests"), INFO, example))


def test_whole_numbers_are_refused():
    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'m'.*teacher 't'.*view 'words'.*whole numbers \(int64\)"):
        checked(nn.Embedding(4, 3), torch.ones(2, dtype=torch.int64))


def test_a_model_that_leaves_torch_is_refused_with_what_it_raised():
    class Foreign(nn.Module):
        def forward(self, x):
            return torch.from_numpy(x.numpy() * 2)

    with pytest.raises(kdbench.MethodRefused, match=r"(?s)'t'.*cannot be run with autograd: RuntimeError: Can't call"):
        checked(Foreign(), torch.randn(2, 3))


def test_a_model_is_left_as_it_was_and_may_work_in_place():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    example = -torch.ones(2, 4)
    checked(model, example)
    assert example.eq(-1).all()
    assert not example.requires_grad
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_needs_name_the_models_that_are_differentiated():
    assert kdbench.needs(input_grad=True).differentiates == ("student", "teacher")
    assert kdbench.needs(input_grad=True, differentiates=["teacher"]).differentiates == ("teacher",)
    attacks = kdbench.needs(logits=True, differentiates=["student"])
    assert attacks.stored, "the teacher's answers to the data are still taken from the bank"
    assert not attacks.teacher_grad
