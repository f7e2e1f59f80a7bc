"""Classifiers of token indices against float64 loops, and what padding may not change."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import kdbench
from kdbench.engine.features import FeatureTap
from kdbench_text import encoder, models
from kdbench_text.tokens import BUCKETS

FACTORIES = {
    "bag-s": models.bag_s,
    "bag-linear": models.bag_linear,
    "textcnn-s": models.textcnn_s,
    "gru-s": models.gru_s,
    "encoder-s": encoder.encoder_s,
}
ROWS = [[7, 4, 9, 3, 11, 6], [5, 2, 5], [8]]


def info(length: int = 8, view: str = "characters") -> kdbench.DatasetInfo:
    return kdbench.DatasetInfo("texts", "multiclass", 4, (length,), 100, view)


def padded(rows: list[list[int]], length: int) -> torch.Tensor:
    return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.float32)


def built(name: str, length: int = 8) -> torch.nn.Module:
    torch.manual_seed(3)
    model = FACTORIES[name](info(length)).double().eval()
    for parameter in model.parameters():  # weights that start at 0 would hide mistakes
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    model.tokens.weight.data[0] = 0
    return model


@pytest.mark.parametrize("name", FACTORIES)
def test_padding_changes_nothing(name):
    model = built(name, 12)
    inputs = padded(ROWS, 12)
    for row, tokens in enumerate(ROWS):
        alone = copy.deepcopy(model)
        if name == "encoder-s":  # one without the padding has as many positions as tokens
            alone.positions = torch.nn.Parameter(alone.positions[: len(tokens)])
        torch.testing.assert_close(alone(padded([tokens], len(tokens)))[0], model(inputs)[row])


@pytest.mark.parametrize("name", FACTORIES)
def test_padding_has_no_gradient_and_an_item_without_tokens_is_finite(name):
    model = built(name).train()
    outputs = model(padded([*ROWS, []], 8))
    outputs.square().sum().backward()
    assert outputs.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert not model.tokens.weight.grad[0].any()
    assert model.tokens.weight.grad[7].any()


def test_a_bag_is_the_linear_map_of_the_mean_embedding():
    model = built("bag-s")
    for row, tokens in enumerate(ROWS):
        mean = [sum(model.tokens.weight[t, d].item() for t in tokens) / len(tokens) for d in range(16)]
        expected = [
            sum(w * m for w, m in zip(model.fc.weight[c].tolist(), mean, strict=True)) + model.fc.bias[c].item()
            for c in range(4)
        ]
        assert model(padded(ROWS, 8))[row].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_linear_bag_is_the_mean_of_its_tokens_weights():
    model = built("bag-linear")
    for row, tokens in enumerate(ROWS):
        expected = [
            model.bias[c].item() + sum(model.tokens.weight[t, c].item() for t in tokens) / len(tokens) for c in range(4)
        ]
        assert model(padded(ROWS, 8))[row].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_text_cnn_takes_the_maximum_of_each_map_over_windows_that_begin_at_a_token():
    model = built("textcnn-s")
    tap = FeatureTap(model, ("penultimate",), "textcnn-s")
    with torch.no_grad():
        model(padded(ROWS, 8))
    found = tap.features["penultimate"]
    for row, tokens in enumerate(ROWS):
        vectors = [model.tokens.weight[t].tolist() for t in tokens] + [[0.0] * 32] * 4
        for number, convolution in enumerate(model.convolutions):
            size, weight = convolution.kernel_size[0], convolution.weight
            for channel in (0, 17):
                answers = [
                    convolution.bias[channel].item()
                    + sum(weight[channel, d, k].item() * vectors[start + k][d] for k in range(size) for d in range(32))
                    for start in range(len(tokens))
                ]
                expected = max(0.0, *answers)
                assert found[row, 32 * number + channel].item() == pytest.approx(expected, abs=1e-12)


def test_an_encoder_attends_as_the_formula_says():
    model = built("encoder-s")
    block, hidden, heads = model.blocks[0], torch.randn(1, 3, 64, dtype=torch.float64), 4
    seen = torch.tensor([[True, True, False]])[:, None, None]
    normed = block.norm1(hidden)
    query, key, value = (part(normed)[0] for part in (block.query, block.key, block.value))
    rows = []
    for token in range(3):
        row = []
        for head in range(heads):
            part = slice(16 * head, 16 * head + 16)
            chances = [math.exp((query[token, part] @ key[other, part]).item() / 4) for other in range(2)]
            row.append(sum(c * value[other, part] for other, c in enumerate(chances)) / sum(chances))
        rows.append(torch.cat(row))
    expected = hidden + block.out(torch.stack(rows))[None]
    expected = expected + block.feed(block.norm2(expected))
    torch.testing.assert_close(block(hidden, seen), expected)


def test_named_features_have_the_shapes_that_methods_count_on():
    model = built("encoder-s")
    names = ("embeddings", "stage1", "stage2", "query1", "value", "key2", "last", "penultimate")
    tap = FeatureTap(model, names, "encoder-s")
    model(padded(ROWS, 8))
    assert {name: tuple(value.shape) for name, value in tap.features.items()} == {
        name: (3, 64) if name == "penultimate" else (3, 8, 64) for name in names
    }
    for name in ("bag-s", "textcnn-s", "gru-s"):
        tap = FeatureTap(built(name), ("penultimate", "embeddings"), name)
        tap.close()


def test_a_view_that_holds_no_token_indices_is_refused_by_name():
    with pytest.raises(ValueError, match="view 'minilm' of 'texts' has shape"):
        models.bag_s(kdbench.DatasetInfo("texts", "multiclass", 4, (384,), 100, "minilm"))


def test_every_index_of_a_view_has_an_embedding_that_float32_inputs_reach():
    largest = max(BUCKETS.values()) - 1
    assert int(torch.tensor([largest], dtype=torch.float32).long()) == largest < 2**24
    assert models.bag_s(info(view="ngrams")).tokens.num_embeddings == largest + 1
