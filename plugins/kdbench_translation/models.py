"""Small encoder-decoder transformers (Vaswani et al., 2017), pre-norm."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from kdbench.data import PADDING

if TYPE_CHECKING:
    from kdbench import DatasetInfo

DROPOUT = 0.1
Memory = list[tuple[Tensor, ...]]
Past = list[tuple[Tensor, Tensor]]


class Attention(nn.Module):
    """Queries of one sequence attend to keys and values, of itself or of another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def memory(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of (N, L, width), each (N, heads, L, width / heads)."""
        return self._split(self.key(x)), self._split(self.value(x))

    def forward(
        self, x: Tensor, memory: tuple[Tensor, ...], seen: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """What (N, L, width) draws from the memory; `seen`, bool (N, 1, 1, keys), tells what may be looked at."""
        key, value = memory
        attended = scaled_dot_product_attention(
            self._split(self.query(x)), key, value, attn_mask=seen, is_causal=causal
        )
        drawn: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return drawn

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def feed_forward(width: int) -> nn.Sequential:
    """Two layers, four times as wide between."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(4 * width, width))


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward network, each added to its input (N, S, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.feed, self.dropout = Attention(width, heads), feed_forward(width), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """The next hidden state."""
        normed = self.norm1(x)
        x = x + self.dropout(self.attention(normed, self.attention.memory(normed), seen))
        hidden: Tensor = x + self.dropout(self.feed(self.norm2(x)))
        return hidden


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the source and a feed-forward network, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attention, self.cross = Attention(width, heads), Attention(width, heads)
        self.feed, self.dropout = feed_forward(width), nn.Dropout(DROPOUT)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, source: tuple[Tensor, ...], seen: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next hidden state of all tokens, or of the one that follows those in `past`; and the new past.

        `past` and `source` hold keys and values of the tokens read and of the source. Of x there are as many rows for
        each source, side by side: all of them ask it together.
        """
        normed = self.norm1(x)
        key, value = self.attention.memory(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        x = x + self.dropout(self.attention(normed, (key, value), causal=x.shape[1] > 1))
        asked = self.norm2(x).reshape(len(seen), -1, x.shape[2])
        x = x + self.dropout(self.cross(asked, source, seen).view_as(x))
        return x + self.dropout(self.feed(self.norm3(x))), (key, value)


class EncoderDecoder(nn.Module):
    """Token indices (N, S + T), the source and what the decoder reads, to logits of the target's places (N, T, V).

    Embeddings of source, target and output are shared; positions are learnt. `feature_layers` names the hidden state
    before the output `penultimate`.
    """

    def __init__(
        self, vocabulary: int, source_length: int, target_length: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.source_length, self.padding_index = source_length, PADDING
        self.tokens = nn.Embedding(vocabulary, width)
        self.source_positions = nn.Parameter(torch.zeros(source_length, width))
        self.target_positions = nn.Parameter(torch.zeros(target_length, width))
        self.dropout = nn.Dropout(DROPOUT)
        self.encoder = nn.ModuleList([EncoderBlock(width, heads) for _ in range(layers)])
        self.decoder = nn.ModuleList([DecoderBlock(width, heads) for _ in range(layers)])
        self.encoder_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        for parameter in (self.tokens.weight, self.source_positions, self.target_positions):
            nn.init.normal_(parameter, std=width**-0.5)
        self.feature_layers = {"penultimate": "norm"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the token that comes at each place of the target, (N, T, V)."""
        source, read = x[:, : self.source_length], x[:, self.source_length :]
        return self._logits(self._decode(read, None, self.read_source(source))[0])

    def read_source(self, source: Tensor) -> Memory:
        """What the decoder looks at of the sources (N, S).

        Returns: which places are no padding, (N, 1, 1, S); then for each layer keys and values, (N, heads, S, width /
        heads).
        """
        source = source.long()
        seen = (source != PADDING)[:, None, None, :]
        hidden = self.dropout(self.tokens(source) + self.source_positions[: source.shape[1]])
        for block in self.encoder:
            hidden = block(hidden, seen)
        hidden = self.encoder_norm(hidden)
        return [(seen,), *(block.cross.memory(hidden) for block in self.decoder)]  # type: ignore[union-attr, operator]

    def read_on(self, tokens: Tensor, past: Past | None, memory: Memory) -> tuple[Tensor, Past]:
        """Logits (N · k, V) after the last token, and what is to be kept to read one more.

        Args:
            tokens: the first tokens (N · k, t) where `past` is None, else the one (N · k, 1) that follows them; the k
                rows of each of the N sources stand side by side.
            past: what the call before returned: for each layer keys and values, (N · k, heads, t, width / heads).
            memory: what `read_source` returned.
        """
        hidden, kept = self._decode(tokens, past, memory)
        return self._logits(hidden[:, -1]), kept

    def _decode(self, tokens: Tensor, past: Past | None, memory: Memory) -> tuple[Tensor, Past]:
        start = 0 if past is None else past[0][0].shape[2]
        hidden = self.tokens(tokens.long()) + self.target_positions[start : start + tokens.shape[1]]
        hidden, kept = self.dropout(hidden), []
        for number, block in enumerate(self.decoder):
            read = None if past is None else past[number]
            hidden, layer = block(hidden, read, memory[number + 1], memory[0][0])
            kept.append(layer)
        return self.norm(hidden), kept

    def _logits(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.tokens.weight, self.bias)


def transformer(width: int, layers: int, heads: int, info: DatasetInfo) -> EncoderDecoder:
    """A model for the dataset's vocabulary and lengths."""
    if info.task != "seq2seq":
        raise ValueError(f"a translation model needs a seq2seq task; that of {info.name!r} is {info.task!r}")
    (target,) = info.label_shape
    return EncoderDecoder(info.num_classes, info.input_shape[0] - target, target, width, layers, heads)


mt_s = partial(transformer, 64, 1, 4)
mt_m = partial(transformer, 96, 2, 4)
mt_l = partial(transformer, 128, 2, 4)
mt_xl = partial(transformer, 192, 3, 4)
