"""The sentence encoder: its tokens, and mean pooling against a loop, on a small model of its architecture."""

from __future__ import annotations

import numpy as np
import pytest

import kdbench
from kdbench_text.sentences import minilm, wordpieces

transformers = pytest.importorskip("transformers")
TEXTS = ["the cat sat", "a dog", "the dog sat on the cat", "cat"]


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


def test_wordpieces_are_the_encoders_own_tokens_cut_and_padded_to_one_length(model_directory):
    found = wordpieces(["the cat sat", "a bird", "the dog sat on the cat"], model_directory, 6)
    assert found.dtype == np.int32
    assert found.tolist() == [[2, 5, 6, 7, 3, 0], [2, 8, 1, 3, 0, 0], [2, 5, 9, 7, 10, 3]]


def test_nothing_of_the_library_is_printed_and_its_bars_stay_as_they_were(model_directory, capfd):
    bars = transformers.utils.logging
    minilm(TEXTS, model_directory, 8)
    assert capfd.readouterr() == ("", "")
    assert bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        minilm(TEXTS, model_directory, 8)
        assert not bars.is_progress_bar_enabled()
    finally:
        bars.enable_progress_bar()
