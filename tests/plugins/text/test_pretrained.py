"""The pretrained encoder as a teacher that is fine-tuned, on a small model of its architecture."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from small_training import check_training, make_bench
from test_sentences import TEXTS

import kdbench
from kdbench.engine.features import FeatureTap
from kdbench_language.transformers import DistilBert, MiniLm, TinyBert
from kdbench_text import data, pretrained, sources
from kdbench_text.encoder import encoder
from kdbench_text.sentences import wordpieces

transformers = pytest.importorskip("transformers")
RECIPE = kdbench.Recipe(epochs=6, batch_size=16, optimizer="adamw", lr=5e-3, select="last")


@pytest.fixture
def here(model_directory, monkeypatch):
    """The small model where the encoder is looked for."""
    monkeypatch.setattr(pretrained, "minilm_directory", lambda: model_directory)
    return model_directory


def info(view: str = "wordpieces", classes: int = 3) -> kdbench.DatasetInfo:
    return kdbench.DatasetInfo("texts", "multiclass", classes, (8,), 100, view)


def test_its_logits_are_the_linear_map_of_the_mean_state_of_the_tokens_that_are_there(here):
    model = pretrained.minilm(info()).eval()
    tokens = wordpieces(TEXTS, here, 8)
    found = model(torch.from_numpy(tokens).float()).detach().double().numpy()
    loaded = transformers.AutoModel.from_pretrained(str(here)).eval()
    weight, bias = (parameter.detach().double().numpy() for parameter in (model.fc.weight, model.fc.bias))
    for row, logits in zip(tokens.tolist(), found, strict=True):
        own = [[token for token in row if token]]
        with torch.no_grad():
            states = loaded(torch.tensor(own)).last_hidden_state[0].double().numpy()
        np.testing.assert_allclose(logits, weight @ (sum(states) / len(states)) + bias, atol=1e-5)


def test_all_its_weights_but_the_classifier_begin_as_they_are_on_disk_and_are_trained(here):
    model = pretrained.minilm(info()).train()
    loaded = transformers.AutoModel.from_pretrained(str(here)).state_dict()
    own = model.encoder.state_dict()
    assert own
    assert all(torch.equal(value, loaded[name]) for name, value in own.items())
    model(torch.from_numpy(wordpieces(TEXTS, here, 8)).float()).square().sum().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is None} == set()


def test_its_features_are_those_that_methods_for_encoders_read(here):
    names = ("embeddings", "stage1", "query1", "key", "value", "last", "penultimate")
    tap = FeatureTap(model := pretrained.minilm(info()), names, "minilm")
    model(torch.from_numpy(wordpieces(TEXTS, here, 8)).float())
    shapes = {name: tuple(value.shape) for name, value in tap.features.items()}
    assert shapes == {name: (4, 16) if name == "penultimate" else (4, 8, 16) for name in names}
    assert (model.attention_heads, model.padding_index) == (2, 0)


@pytest.mark.parametrize(
    "make", [DistilBert, partial(TinyBert, student_layers=(1,), teacher_layers=(1,)), MiniLm], ids=lambda m: str(m)[:40]
)
def test_a_small_encoder_of_wordpieces_learns_from_it(here, make):
    words = ("the", "cat", "sat", "a", "dog", "on")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(words[n % 2 :: 2], 5)) for n in range(160)]
    unique = {text: n % 2 for n, text in enumerate(texts)}
    arrays = data.prepared(list(unique), list(unique.values()), 8, model=here)
    assert arrays["wordpieces"].shape == (len(unique), data.WORDPIECES)
    bench = make_bench(
        data.assembled(arrays, ("odd", "even"), sources.TWEETS), teacher=pretrained.minilm,
        student=partial(encoder, 16, 1, 2), views=("wordpieces", "wordpieces"), recipe=RECIPE,
    )  # fmt: skip
    check_training(bench, make)


def test_another_view_is_refused_and_an_encoder_that_is_not_there_is_named_with_its_command(
    here, monkeypatch, tmp_path
):
    with pytest.raises(ValueError, match="not view 'words' of 'texts'"):
        pretrained.minilm(info("words"))
    monkeypatch.setattr(pretrained, "minilm_directory", lambda: tmp_path)
    with pytest.raises(kdbench.DataNotAvailable, match="kdbench data fetch wordnet-glosses-12k"):
        pretrained.minilm(info())
