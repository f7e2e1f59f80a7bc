"""Small causal transformers over token indices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench_models.transformer_layers import transformer_layers

if TYPE_CHECKING:
    from kdbench import DatasetInfo


Past = tuple[Tensor, Tensor]


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
        return self.read_on(x, None)[0]

    def read_on(self, x: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """The next hidden state, of all tokens or of the one that follows the `past` ones; and the new past."""
        normed = self.norm1(x)
        query, key, value = (
            each(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        if past is not None:
            key, value = (torch.cat(both, 2) for both in zip(past, (key, value), strict=True))
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.norm2(x)), (key, value)


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
        self.feature_layers = transformer_layers(layers, "blocks.{}", "blocks.{}")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the token after each, (N, L, V)."""
        hidden = self.embeddings(self.tokens(x.long()) + self.positions[: x.shape[1]])
        logits: Tensor = self.fc(self.norm(self.blocks(hidden)))
        return logits

    def read_on(self, tokens: Tensor, past: list[Past] | None) -> tuple[Tensor, list[Past]]:
        """Logits (N, V) after the last token, and what is to be kept of all tokens to read one more.

        Args:
            tokens: the first tokens (N, t) where `past` is None, else the one (N, 1) that follows them.
            past: what the call before returned: for each layer keys and values, (N, heads, t, width / heads).
        """
        start = 0 if past is None else past[0][0].shape[2]
        hidden = self.tokens(tokens.long()) + self.positions[start : start + tokens.shape[1]]
        kept = []
        for number, block in enumerate(self.blocks):
            hidden, layer = block.read_on(hidden, None if past is None else past[number])  # type: ignore[operator]
            kept.append(layer)
        return self.fc(self.norm(hidden[:, -1])), kept


def transformer(width: int, layers: int, heads: int, info: DatasetInfo) -> CausalTransformer:
    """A model for the dataset's vocabulary and length."""
    if info.task != "language-modeling":
        raise ValueError(f"a language model needs a language-modeling task; that of {info.name!r} is {info.task!r}")
    return CausalTransformer(info.num_classes, info.input_shape[0], width, layers, heads)


lm_s = partial(transformer, 32, 2, 4)
lm_m = partial(transformer, 64, 2, 4)
lm_l = partial(transformer, 128, 4, 4)
