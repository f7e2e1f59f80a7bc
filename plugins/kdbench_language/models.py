"""Small causal transformers over token indices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class Block(nn.Module):
    """Pre-norm causal self-attention and a feed-forward network, each added to its input (N, L, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The next hidden state."""
        normed = self.norm1(x)
        query, key, value = (
            each(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        fed: Tensor = x + self.feed(self.norm2(x))
        return fed


class CausalTransformer(nn.Module):
    """A language model (Radford et al., 2019, made small): token indices (N, L), L up to `length`, to logits (N, L, V).

    `feature_layers` names its stages, embeddings, and each layer's queries, keys and values; the last layer's are also
    `query`, `key` and `value`. `attention_heads` is their number of heads.
    """

    def __init__(self, vocabulary: int, length: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.attention_heads, self.length, self.causal = heads, length, True
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.embeddings = nn.Identity()
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, vocabulary)
        for parameter in (self.tokens.weight, self.positions):
            nn.init.normal_(parameter, std=0.02)
        parts = ("query", "key", "value")
        self.feature_layers = (
            {f"stage{n + 1}": f"blocks.{n}" for n in range(layers)}
            | {f"{part}{n + 1}": f"blocks.{n}.{part}" for n in range(layers) for part in parts}
            | {part: f"blocks.{layers - 1}.{part}" for part in parts}
            | {"embeddings": "embeddings", "penultimate": "fc:input"}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the token after each, (N, L, V)."""
        hidden = self.embeddings(self.tokens(x.long()) + self.positions[: x.shape[1]])
        logits: Tensor = self.fc(self.norm(self.blocks(hidden)))
        return logits


def transformer(width: int, layers: int, heads: int, info: DatasetInfo) -> CausalTransformer:
    """A model for the dataset's vocabulary and length."""
    if info.task != "language-modeling":
        raise ValueError(f"a language model needs a language-modeling task; that of {info.name!r} is {info.task!r}")
    return CausalTransformer(info.num_classes, info.input_shape[0], width, layers, heads)


lm_s = partial(transformer, 32, 2, 4)
lm_m = partial(transformer, 64, 2, 4)
lm_l = partial(transformer, 128, 4, 4)
