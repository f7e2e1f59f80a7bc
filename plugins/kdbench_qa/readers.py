"""Small readers of a question and a text that point at the answer's first and last token."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench_text.tokens import BUCKETS, PADDING
from kdbench_translation.models import EncoderBlock

if TYPE_CHECKING:
    from kdbench import DatasetInfo

UNSEEN = -1e4
"""The logit of padding: exactly no weight after softmax, and finite."""


class SpanReader(nn.Module):
    """A transformer over question and text together: token indices (N, Q + L) to logits of both ends (N, 2, L).

    Beside its embedding a token is told whether it is of the question, and whether the question has it too (Chen et
    al., 2017, "exact match"). Features: `penultimate` (N, Q + L, width).
    """

    def __init__(self, question: int, length: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.question, self.padding_index = question, PADDING
        self.tokens = nn.Embedding(BUCKETS["words"], width, padding_idx=PADDING)
        self.kinds = nn.Embedding(4, width)
        self.positions = nn.Parameter(torch.zeros(question + length, width))
        self.blocks = nn.ModuleList([EncoderBlock(width, heads) for _ in range(layers)])
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, 2)
        nn.init.normal_(self.positions, std=0.02)
        self.feature_layers = {"penultimate": "norm"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the answer's first and last place."""
        x = x.long()
        tokens, asked = x != PADDING, x[:, : self.question]
        shared = ((x[:, None, :] == asked[:, :, None]) & (asked != PADDING)[:, :, None]).any(1)
        of_text = torch.arange(x.shape[1], device=x.device) >= self.question
        hidden = self.tokens(x) + self.kinds(shared + 2 * of_text.long()) + self.positions
        for block in self.blocks:
            hidden = block(hidden, tokens[:, None, None, :])
        logits = self.fc(self.norm(hidden))[:, self.question :].transpose(1, 2)
        return logits.masked_fill(~tokens[:, None, self.question :], UNSEEN)


def reader(width: int, layers: int, heads: int, info: DatasetInfo) -> SpanReader:
    """A reader for the dataset's lengths."""
    if info.task != "span-qa":
        raise ValueError(f"it points at spans; the task of {info.name!r} is {info.task!r}")
    return SpanReader(info.input_shape[0] - info.num_classes, info.num_classes, width, layers, heads)


reader_s, reader_l = partial(reader, 32, 1, 4), partial(reader, 128, 3, 4)
