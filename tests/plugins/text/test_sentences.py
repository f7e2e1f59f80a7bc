"""The sentence encoder: mean pooling against a loop, on a small model of its architecture that the test writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kdbench
from kdbench_text.sentences import minilm

transformers = pytest.importorskip("transformers")
TEXTS = ["the cat sat", "a dog", "the dog sat on the cat", "cat"]


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory) -> Path:
    """An untrained BERT of width 16 with six words, saved as `transformers` saves models."""
    directory = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "a", "dog", "on"]
    (directory / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(directory)
    transformers.BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    return directory


def test_an_embedding_is_the_mean_of_the_tokens_at_unit_length_whatever_the_batch(model_directory):
    import torch

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(model_directory))
    model = transformers.AutoModel.from_pretrained(str(model_directory)).eval()
    found = minilm(TEXTS, model_directory, 8)
    assert found.dtype == np.float32
    for text, embedding in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            states = model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0].double().numpy()
        mean = sum(states) / len(states)
        np.testing.assert_allclose(embedding, mean / np.sqrt(sum(mean**2)), atol=1e-5)


def test_tokens_beyond_the_limit_are_not_read(model_directory):
    long, short = minilm(["the cat sat on a dog", "the cat"], model_directory, 4)
    np.testing.assert_allclose(long, short, atol=1e-6)


def test_a_directory_without_the_model_is_named_with_the_command_that_gets_it(tmp_path):
    with pytest.raises(kdbench.DataNotAvailable, match="kdbench data fetch"):
        minilm(TEXTS, tmp_path, 8)
