"""Every architecture: shapes, features, gradients, reproducibility."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

IMAGE_SHAPES = [(1, 8, 8), (3, 32, 32), (2, 9, 17), (1, 112, 92)]


def recorded(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Each named feature's value, in the order in which the forward pass met it."""
    modules, seen = dict(model.named_modules()), {}
    for name, layer in model.feature_layers.items():
        path, _, end = layer.partition(":")
        modules[path].register_forward_hook(
            lambda _, args, output, name=name, end=end: seen.update({name: args[0] if end == "input" else output})
        )
    model(x)
    return seen


@pytest.mark.parametrize("shape", IMAGE_SHAPES, ids=str)
def test_logits_have_one_column_per_class(build, name, shape):
    model = build(name, shape, classes=7).eval()
    assert model(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("vector_model", ["linear", "mlp-s", "mlp-m", "mlp-l"])
def test_mlps_take_vectors(build, vector_model):
    assert build(vector_model, (13,), classes=3)(torch.randn(5, 13)).shape == (5, 3)


def test_a_large_image_works(build):
    assert build("cnn-s", (3, 224, 224)).eval()(torch.randn(1, 3, 224, 224)).shape == (1, 10)


def test_features_are_stages_in_depth_order_and_then_the_penultimate(build, name):
    model = build(name, (3, 32, 32))
    stages = [f"stage{number}" for number in range(1, len(model.feature_layers))]
    seen = recorded(model, torch.randn(2, 3, 32, 32))
    assert list(model.feature_layers) == list(seen) == [*stages, "penultimate"]
    assert seen["penultimate"].shape == (2, model.fc.in_features)


def test_stage_features_of_an_image_model_are_maps(build, image_name):
    shape = (3, 64, 64) if image_name.startswith("imagenet-") else (3, 32, 32)
    seen = recorded(build(image_name, shape), torch.randn(2, *shape))
    sizes = [feature.shape[2] for name, feature in seen.items() if name.startswith("stage")]
    assert len(sizes) >= 3
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] >= 2


def test_no_module_changes_what_a_hook_saw(build, name):
    model, seen = build(name, (3, 16, 16)), []
    for module in model.modules():
        module.register_forward_hook(lambda _, args, output: seen.append((output, output.detach().clone())))
    model(torch.randn(2, 3, 16, 16))
    assert all(torch.equal(output, copy) for output, copy in seen)


def test_backward_reaches_every_parameter(build, name):
    model = build(name, (3, 16, 16))
    nn.functional.cross_entropy(model(torch.randn(4, 3, 16, 16)), torch.tensor([0, 1, 2, 3])).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_weights_depend_on_the_seed_only(build, name):
    first, again, other = (build(name, (3, 16, 16), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_deep_copy_gives_the_same_logits(build):
    model, x = build("resnet20", (3, 16, 16)).eval(), torch.randn(2, 3, 16, 16)
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_too_small_an_image_is_refused_with_the_minimum(build, image_name):
    with pytest.raises(ValueError, match=rf"'{image_name}' needs images of at least 8x8, .* \(3, 7, 32\)"):
        build(image_name, (3, 7, 32))


def test_an_image_model_refuses_vectors(build, image_name):
    with pytest.raises(ValueError, match=rf"'{image_name}' needs images .* input shape \(13,\)"):
        build(image_name, (13,))
