"""Small transformer encoders over token indices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench_models.transformer_layers import transformer_layers
from kdbench_text.models import MaskedMean, buckets_of
from kdbench_text.tokens import PADDING

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and a feed-forward network, each added to its input (N, L, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """The next hidden state; `seen`, bool (N, 1, 1, L), tells which tokens may be looked at."""
        normed = self.norm1(x)
        query, key, value = (
            each(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed(self.norm2(x)))


class TextEncoder(nn.Module):
    """A transformer encoder (Vaswani et al., 2017, made small), pre-norm: (N, L) to outputs (N, C) by the tokens' mean.

    Padding is looked at by no token and is in no mean. `feature_layers` names the stages, `embeddings`, `penultimate`
    (N, width) and each layer's queries, keys and values, (N, L, width); the last layer's are also `query`, `key` and
    `value`. `attention_heads` is their number of heads.
    """

    def __init__(self, buckets: int, length: int, width: int, layers: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.attention_heads, self.causal, self.padding_index = heads, False, PADDING
        self.tokens = nn.Embedding(buckets, width, padding_idx=PADDING)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.embeddings = nn.Dropout(0.1)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.mean = MaskedMean()
        self.fc = nn.Linear(width, outputs)
        for parameter in (self.tokens.weight, self.positions):
            nn.init.normal_(parameter, std=0.1)
        with torch.no_grad():
            self.tokens.weight[PADDING] = 0
        self.feature_layers = transformer_layers(layers, "blocks.{}", "blocks.{}")

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (N, C)."""
        x = x.long()
        mask = x != PADDING
        seen = mask.clone()
        seen[:, 0] = True  # attention over nothing is not a number: an item without tokens looks at its first place
        hidden = self.embeddings(self.tokens(x) + self.positions)
        for block in self.blocks:
            hidden = block(hidden, seen[:, None, None])
        outputs: Tensor = self.fc(self.mean(self.norm(hidden), mask))
        return outputs


def encoder(width: int, layers: int, heads: int, info: DatasetInfo) -> TextEncoder:
    """An encoder for the dataset's view and classes."""
    return TextEncoder(buckets_of(info), info.input_shape[0], width, layers, heads, info.num_classes)


encoder_s = partial(encoder, 64, 2, 4)
encoder_l = partial(encoder, 128, 4, 4)
