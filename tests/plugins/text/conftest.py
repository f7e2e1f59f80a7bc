"""A small model of the sentence encoder's architecture, on disk as `transformers` saves models."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory) -> Path:
    """An untrained BERT of width 16 with six words, saved as `transformers` saves models."""
    transformers = pytest.importorskip("transformers")
    directory = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "a", "dog", "on"]
    (directory / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(directory)
    transformers.BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(directory)
    return directory
