"""Models of other libraries: what we ask timm for, and tiny transformers models from a folder."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kdbench_models.external import timm_model, transformers_model


class FakeTimmNet(nn.Module):
    """A network that describes its features as timm's do, one of them not a module of the network."""

    feature_info = ({"module": "act1"}, {"module": "layer1"}, {"module": "absent"})

    def __init__(self) -> None:
        super().__init__()
        self.act1, self.layer1, self.fc = nn.ReLU(), nn.Identity(), nn.Linear(4, 3)

    def get_classifier(self) -> nn.Module:
        return self.fc


@pytest.fixture
def timm_calls(monkeypatch):
    """The arguments of each create_model call; models named vit_* have a fixed input size."""
    calls = []

    def create_model(name, **arguments):
        calls.append((name, arguments))
        return FakeTimmNet()

    fake = SimpleNamespace(
        create_model=create_model, get_pretrained_cfg_value=lambda name, key: name.startswith("vit_")
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    return calls


def test_timm_gets_the_classes_and_channels_of_the_dataset(timm_calls, info):
    timm_model("resnet18", info((1, 28, 28), 7))
    assert timm_calls == [("resnet18", {"pretrained": False, "num_classes": 7, "in_chans": 1})]


def test_timm_gets_the_size_where_the_model_fixes_it(timm_calls, info):
    timm_model("vit_tiny_patch16_224", info((3, 64, 48)))
    assert timm_calls[0][1]["img_size"] == (64, 48)


def test_timm_features_are_those_that_the_model_lists(timm_calls, info):
    model = timm_model("resnet18", info((3, 32, 32)))
    assert model.feature_layers == {"stage1": "act1", "stage2": "layer1", "penultimate": "fc:input"}


def test_timm_refuses_vectors(timm_calls, info):
    with pytest.raises(ValueError, match=r"'timm:resnet18' needs images .* \(13,\)"):
        timm_model("resnet18", info((13,)))


@pytest.fixture
def tiny_vit():
    transformers = pytest.importorskip("transformers")
    return transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )


def test_transformers_builds_an_untrained_image_model_from_a_configuration(tiny_vit, tmp_path, info):
    tiny_vit.save_pretrained(tmp_path)
    model = transformers_model(str(tmp_path), info((1, 12, 8), 7))
    assert model(torch.randn(2, 1, 12, 8)).shape == (2, 7)
    attention = {f"{part}{layer}" for part in ("query", "key", "value") for layer in ("", 1, 2)}
    assert model.feature_layers.keys() == {"stage1", "stage2", "penultimate", "embeddings", *attention}
    assert model.feature_layers["query"] == model.feature_layers["query2"]
    assert {layer.partition(":")[0] for layer in model.feature_layers.values()} <= dict(model.named_modules()).keys()


def test_transformers_loads_weights_and_renews_the_classifier(tiny_vit, tmp_path, info):
    import transformers

    trained = transformers.AutoModelForImageClassification.from_config(tiny_vit)
    trained.save_pretrained(tmp_path)
    model = transformers_model(str(tmp_path), info((3, 8, 8), 7))
    weights, loaded = trained.vit.state_dict(), model.model.vit.state_dict()
    assert all(torch.equal(weights[key], loaded[key]) for key in weights)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 7)


def test_transformers_text_model_ignores_padding(tmp_path, info):
    transformers = pytest.importorskip("transformers")
    transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, pad_token_id=0
    ).save_pretrained(tmp_path)
    model = transformers_model(str(tmp_path), info((6,), 3)).eval()
    padded = torch.tensor([[5, 6, 7, 0, 0, 0]])
    torch.testing.assert_close(model(padded), model(padded[:, :3]))
    torch.testing.assert_close(model({"input_ids": padded[:, :3]}), model(padded))
