"""Metrics that have to run the model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.catalog import Catalog
from kdbench.engine.measures import measure
from kdbench.engine.train import Views
from kdbench.errors import PluginError

INPUTS, LABELS = torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 1])
DATA = Views(INPUTS, -INPUTS, LABELS)


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

    assert measure(("sum", "sum:3"), catalog(sum=factory), model, DATA) == {"sum": 2.0, "sum:3": 6.0}
    assert model[0].training


def test_they_can_differentiate():
    def factory():
        def metric(model, inputs, labels):
            at = inputs.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model(at)[:, 0].sum(), at)
            return gradient[0, 1]

        return metric

    model = nn.Linear(2, 2)
    assert measure(("slope",), catalog(slope=factory), model, DATA) == {"slope": model.weight[0, 1].item()}


def test_one_that_raises_is_named_with_its_plugin():
    def factory():
        def metric(model, inputs, labels):
            raise ZeroDivisionError("no items")

        return metric

    with pytest.raises(PluginError, match=r"metric 'bad' of plugin 'mine' failed\n  ZeroDivisionError: no items"):
        measure(("bad",), catalog(bad=factory), nn.Linear(2, 2), DATA)
