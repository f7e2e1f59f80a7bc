"""all-MiniLM-L6-v2: English sentences as vectors (Reimers and Gurevych, 2019; Wang et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench

BATCH = 64


def minilm(texts: Sequence[str], directory: Path, max_tokens: int) -> NDArray[np.float32]:
    """Embeddings (N, 384) of unit length: the mean of the last hidden states over the text's first tokens.

    Texts are encoded in batches of like length, on the CPU; nothing is asked of the hub.

    Args:
        max_tokens: how many tokens of a text are read.
        directory: the model as `transformers` saves it: config.json, model.safetensors, the tokeniser's files.

    Raises: DataNotAvailable where the directory holds no model; PluginError without transformers.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise kdbench.PluginError(
            "the sentence encoder cannot run", f"it needs transformers: {error}", "pip install 'kdbench[text]'"
        ) from error
    import torch

    if not (directory / "config.json").is_file():
        raise kdbench.DataNotAvailable(
            "the sentence encoder all-MiniLM-L6-v2 is not on this machine", f"{directory} holds no config.json",
            "kdbench data fetch wordnet-glosses-12k",
        )  # fmt: skip
    tokenizer: Any = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    model: Any = AutoModel.from_pretrained(str(directory), local_files_only=True).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
            )
            mask = batch["attention_mask"][..., None].float()
            mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            found[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return found
