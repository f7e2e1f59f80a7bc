from collections import OrderedDict

import pytest
import torch
from torch import nn

from kdbench.engine.features import FeatureTap, feature_layers, resolve
from kdbench.errors import ModelMismatch


def plain():
    model = nn.Sequential()
    for name, width in (("first_block", 4), ("second_block", 6), ("third_block", 8)):
        model.add_module(name, nn.LazyLinear(width))
    model(torch.zeros(2, 3))
    return model


class Declared(nn.Module):
    feature_layers = {"stage1": "a", "penultimate": "b:input"}

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.b(self.a(x).relu())


def test_any_module_names_its_children_and_the_input_of_its_last_linear_layer():
    assert feature_layers(plain()) == {
        "first_block": "first_block",
        "second_block": "second_block",
        "third_block": "third_block",
        "penultimate": "third_block:input",
    }


def test_aliases_stand_for_the_models_own_stages():
    model = plain()
    assert [resolve(model, alias, "m") for alias in ("first", "middle", "last")] == [
        "first_block",
        "second_block",
        "third_block",
    ]


def test_a_tap_collects_outputs_and_inputs_without_changing_the_answer():
    model, x = Declared(), torch.randn(2, 3)
    expected = model(x)
    tap = FeatureTap(model, ["stage1", "penultimate"], "m")
    assert model(x).equal(expected)
    features = tap.take()
    assert features["stage1"].equal(model.a(x))
    assert features["penultimate"].equal(model.a(x).relu())
    tap.take()
    tap.close()
    model(x)
    assert tap.take() == {}


def test_an_unknown_feature_is_refused_with_what_the_model_has():
    with pytest.raises(ModelMismatch, match=r"(?s)model 'm' has no feature 'stage2'.*it has: stage1, penultimate"):
        resolve(Declared(), "stage2", "m")


class Block(nn.Module):
    """A residual block that tells where its sum is."""

    pre_activation = "act:input"

    def __init__(self):
        super().__init__()
        self.body, self.act = nn.Linear(3, 3), nn.ReLU()

    def forward(self, x):
        return self.act(self.body(x) + x)


class Staged(nn.Module):
    feature_layers = {"stage1": "a", "stage2": "b", "stage3": "c", "penultimate": "fc:input"}
    pre_activations = {"stage3": "b.body:input"}

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.BatchNorm1d(3), nn.LeakyReLU(inplace=True)))
        self.b, self.c, self.fc = Block(), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(self.c(self.b(self.a(x))))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("stage1:pre", "a.1.1:input"), ("first:pre", "a.1.1:input"), ("stage2:pre", "b.act:input"),
        ("b:pre", "b.act:input"), ("last:pre", "b.body:input"), ("c:pre", "c"), ("a.0:pre", "a.0"),
    ],
)  # fmt: skip
def test_a_feature_before_its_activation_is_found_by_its_last_module_or_told(name, path):
    assert resolve(Staged(), name, "m") == path


def test_what_a_module_does_inside_is_not_guessed():
    with pytest.raises(ModelMismatch, match=r"(?s)'m' does not tell what its feature 'inner'.*'inner' is a Declared"):
        resolve(nn.Sequential(OrderedDict(inner=Declared())), "inner:pre", "m")
    with pytest.raises(ModelMismatch, match=r"(?s)'penultimate'.*no module's output"):
        resolve(Staged(), "penultimate:pre", "m")
    with pytest.raises(ModelMismatch, match="has no feature 'stage9'"):
        resolve(Staged(), "stage9:pre", "m")


class Pooled(nn.Module):
    """Maps, and what the given modules make of them."""

    def __init__(self, *after: nn.Module) -> None:
        super().__init__()
        self.body, self.after = nn.Conv2d(1, 3, 3), nn.Sequential(*after)

    def forward(self, x):
        return self.after(self.body(x))


def gap(size=1):
    return nn.AdaptiveAvgPool2d(size)


@pytest.mark.parametrize(
    ("after", "path"),
    [
        ((gap(), nn.Flatten(), nn.Linear(3, 2)), "after.0:input"),
        ((nn.BatchNorm2d(3), gap((1, 1)), nn.Flatten(), nn.Dropout(), nn.Linear(3, 2)), "after.1:input"),
        ((nn.Sequential(gap(), nn.Flatten()), nn.Linear(3, 2)), "after.0.0:input"),
        ((gap(), nn.Flatten(), nn.ReLU(), nn.Linear(3, 2)), "after.3:input"),
        ((gap(), nn.Flatten(), nn.Linear(3, 4), nn.Linear(4, 2)), "after.3:input"),
        ((gap(2), nn.Flatten(), nn.Linear(12, 2)), "after.2:input"),
        ((nn.Flatten(), nn.Linear(108, 2)), "after.1:input"),
    ],
)  # fmt: skip
def test_maps_before_the_classifiers_pooling_are_found_where_nothing_else_lies_between(after, path):
    model = Pooled(*after).eval()
    assert resolve(model, "penultimate:maps", "m") == path
    tap, x = FeatureTap(model, ["penultimate:maps", "penultimate"], "m"), torch.randn(2, 1, 8, 8)
    model(x)
    features = tap.take()
    if features["penultimate:maps"].ndim == 4:
        torch.testing.assert_close(features["penultimate:maps"].mean((2, 3)), features["penultimate"])
    else:
        assert features["penultimate:maps"].equal(features["penultimate"])


def test_a_model_may_tell_where_its_maps_are_before_pooling():
    model = Pooled(gap(), nn.Flatten(), nn.Linear(3, 2))
    model.feature_layers = {"penultimate": "after.2:input", "penultimate:maps": "body"}
    assert resolve(model, "penultimate:maps", "m") == "body"
    assert resolve(model, "last", "m") == "after.2:input", "no stage of the model's own"
    assert resolve(Declared(), "penultimate:maps", "m") == "b:input"


def test_an_activation_in_place_does_not_overwrite_what_it_was_given():
    model, x = Staged().eval(), torch.randn(4, 3)
    tap = FeatureTap(model, ["stage1:pre", "stage1"], "m")
    model(x)
    features = tap.take()
    torch.testing.assert_close(features["stage1:pre"], model.a[1][0](model.a[0](x)))
    assert (features["stage1:pre"] < 0).any()
    torch.testing.assert_close(features["stage1"], nn.functional.leaky_relu(features["stage1:pre"]))


def test_aliases_stand_for_stages_where_a_model_names_other_features_too():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model.feature_layers = {"embeddings": "0", "stage1": "1", "stage2": "2", "query1": "0", "penultimate": "2:input"}
    assert [resolve(model, alias, "mine") for alias in ("first", "middle", "last")] == ["1", "1", "2"]
