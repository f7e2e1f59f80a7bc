"""Metrics that have to run the model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kdbench.catalog import Catalog
from kdbench.data import DatasetInfo
from kdbench.engine.bank import Teacher
from kdbench.engine.measures import measure, measure_teacher
from kdbench.engine.views import Views
from kdbench.errors import PluginError

INPUTS, LABELS = torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 1])
DATA = Views(INPUTS, -INPUTS, LABELS)
INFO = DatasetInfo("made up", "multiclass", 2, (2,), 3, class_names=("no", "yes"))


def catalog(**factories) -> Catalog:
    made = Catalog()
    for name, factory in factories.items():
        made.add("metric", name, factory, "mine", {"of": "model", "scheme": True})
    return made


def test_they_get_the_students_view_and_a_model_in_evaluation_mode_that_has_its_own_mode_again():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))

    def factory(text="1"):
        def metric(given, inputs, labels):
            assert given is model
            assert not given[0].training
            assert inputs.equal(INPUTS)
            return torch.tensor(float(text) * int(labels.sum()))

        return metric

    assert measure(("sum", "sum:3"), catalog(sum=factory), model, DATA, INFO) == {"sum": 2.0, "sum:3": 6.0}
    assert model[0].training


def test_they_can_differentiate():
    def factory():
        def metric(model, inputs, labels):
            at = inputs.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model(at)[:, 0].sum(), at)
            return gradient[0, 1]

        return metric

    model = nn.Linear(2, 2)
    assert measure(("slope",), catalog(slope=factory), model, DATA, INFO) == {"slope": model.weight[0, 1].item()}


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (
            nn.Sequential(nn.Flatten(0), nn.Embedding(6, 2), nn.Unflatten(0, (3, 2))),
            Views(INPUTS.long(), -INPUTS, LABELS),
        ),
        (torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), {nn.Linear}), DATA),
    ],
    ids=["tokens", "int8"],
)
def test_one_that_differentiates_has_no_value_of_a_model_without_a_gradient(model, data):
    def factory():
        def metric(model, inputs, labels):
            raise AssertionError("asked")

        return metric

    made = Catalog()
    made.add("metric", "slope", factory, "mine", {"of": "model", "differentiates": True})
    assert math.isnan(measure(("slope",), made, model, data, INFO)["slope"])
    with pytest.raises(PluginError, match="asked"):
        measure(("slope",), made, nn.Linear(2, 2), DATA, INFO)


def test_one_that_raises_is_named_with_its_plugin():
    def factory():
        def metric(model, inputs, labels):
            raise ZeroDivisionError("no items")

        return metric

    with pytest.raises(PluginError, match=r"metric 'bad' of plugin 'mine' failed\n  ZeroDivisionError: no items"):
        measure(("bad",), catalog(bad=factory), nn.Linear(2, 2), DATA, INFO)


def test_one_that_asks_for_it_is_told_of_the_dataset():
    made = Catalog()
    factory = lambda: lambda model, inputs, labels, *, info: len(info.class_names[1])  # noqa: E731
    made.add("metric", "letters", factory, "mine", {"of": "model", "info": True})
    assert measure(("letters",), made, nn.Linear(2, 2), DATA, INFO) == {"letters": 3.0}


def test_one_that_asks_for_it_is_told_which_items_it_is_given():
    made = Catalog()
    factory = lambda: lambda model, inputs, labels, *, index: float(index.sum())  # noqa: E731
    made.add("metric", "places", factory, "mine", {"of": "model", "index": True})
    data = Views(INPUTS, -INPUTS, LABELS, index=torch.tensor([4, 7, 9]))
    assert measure(("places",), made, nn.Linear(2, 2), data, INFO) == {"places": 20.0}


def test_those_that_ask_for_it_share_what_they_make_of_one_model():
    made, calls = Catalog(), []

    def factory(text="1"):
        def metric(model, inputs, labels, *, shared):
            if "sum" not in shared:
                calls.append(text)
                shared["sum"] = float(inputs.sum())
            return float(text) * shared["sum"]

        return metric

    made.add("metric", "sum", factory, "mine", {"of": "model", "scheme": True, "shared": True})
    for times in (1, 2):
        assert measure(("sum", "sum:2"), made, nn.Linear(2, 2), DATA, INFO) == {"sum": 15.0, "sum:2": 30.0}
        assert calls == ["1"] * times


def test_the_teacher_is_measured_once_on_its_view_by_those_that_are_also_its_own(tmp_path):
    calls = []

    def factory(text="1"):
        def metric(model, inputs, labels):
            calls.append(text)
            return float(text) * float(inputs.sum())

        return metric

    made = catalog(student=factory)
    made.add("metric", "both", factory, "mine", {"of": "model", "scheme": True, "of_teacher": True})
    teacher = Teacher(nn.Linear(2, 2), "", {}, INPUTS.numpy(), tmp_path, 0.0)
    names = ("student", "both", "both:2")
    expected = {"both": -15.0, "both:2": -30.0}
    for _ in range(2):
        assert measure_teacher(names, made, teacher, DATA, INFO) == expected
    assert calls == ["1", "2"]
    assert measure_teacher((*names, "both:3"), made, teacher, DATA, INFO) == expected | {"both:3": -45.0}
    assert calls == ["1", "2", "3"]
