"""Small classifiers of token indices (N, L), 0 for padding: bags of embeddings, a convolution, a recurrent network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench_text import tokens
from kdbench_text.tokens import PADDING

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class Bag(nn.Module):
    """The mean of the tokens' embeddings and a linear layer (Joulin et al., 2017): (N, L) to logits (N, C).

    Features: `embeddings` (N, L, width), `penultimate` (N, width).
    """

    def __init__(self, buckets: int, width: int, classes: int) -> None:
        super().__init__()
        self.padding_index = PADDING
        self.tokens = nn.Embedding(buckets, width, padding_idx=PADDING)
        self.mean = MaskedMean()
        self.fc = nn.Linear(width, classes)
        self.feature_layers = {"embeddings": "tokens", "penultimate": "fc:input"}
        spread_embeddings(self.tokens, 1 / width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        x = x.long()
        logits: Tensor = self.fc(self.mean(self.tokens(x), x != PADDING))
        return logits


class LinearBag(nn.Module):
    """Softmax regression on the shares of an item's hashed tokens: (N, L) to logits (N, C).

    Each token has a vector of C weights; the logits are their mean over the tokens, and a bias. No features.
    """

    def __init__(self, buckets: int, classes: int) -> None:
        super().__init__()
        self.padding_index = PADDING
        self.tokens = nn.Embedding(buckets, classes, padding_idx=PADDING)
        self.mean = MaskedMean()
        self.bias = nn.Parameter(torch.zeros(classes))
        nn.init.zeros_(self.tokens.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        x = x.long()
        logits: Tensor = self.mean(self.tokens(x), x != PADDING) + self.bias
        return logits


class TextCnn(nn.Module):
    """Convolutions over 3, 4 and 5 tokens, each map's maximum over the text, dropout and a linear layer (Kim, 2014).

    Windows begin at tokens alone, never at padding. Features: `embeddings` (N, L, width), `penultimate` (N, 3 * maps).
    """

    def __init__(self, buckets: int, width: int, maps: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.padding_index = PADDING
        self.tokens = nn.Embedding(buckets, width, padding_idx=PADDING)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, maps, size) for size in (3, 4, 5))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(3 * maps, classes)
        self.feature_layers = {"embeddings": "tokens", "penultimate": "fc:input"}
        spread_embeddings(self.tokens, 0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        x = x.long()
        padding = (x == PADDING)[:, None]
        embedded = self.tokens(x).transpose(1, 2)
        found = []
        for convolution in self.convolutions:
            windows = nn.functional.pad(embedded, (0, convolution.kernel_size[0] - 1))  # type: ignore[operator,index]
            # ReLU leaves nothing below 0, so that 0 is what a masked window adds to a maximum.
            found.append(convolution(windows).relu().masked_fill(padding, 0).amax(2))
        logits: Tensor = self.fc(self.dropout(torch.cat(found, 1)))
        return logits


class TextGru(nn.Module):
    """A gated recurrent network (Cho et al., 2014), its state after the last token, and a linear layer.

    Features: `embeddings` (N, L, width), `penultimate` (N, hidden).
    """

    def __init__(self, buckets: int, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.padding_index = PADDING
        self.tokens = nn.Embedding(buckets, width, padding_idx=PADDING)
        self.gru = nn.GRU(width, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, classes)
        self.feature_layers = {"embeddings": "tokens", "penultimate": "fc:input"}
        spread_embeddings(self.tokens, 0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        x = x.long()
        states, _ = self.gru(self.tokens(x))
        last = ((x != PADDING) * torch.arange(x.shape[1], device=x.device)).amax(1)
        logits: Tensor = self.fc(states[torch.arange(len(x), device=x.device), last])
        return logits


class MaskedMean(nn.Module):
    """The mean over the tokens that are not padding: (N, L, D) and a mask (N, L) to (N, D); 0 where there is none."""

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """The means."""
        weights = mask.to(values.dtype)
        return torch.einsum("nld,nl->nd", values, weights) / weights.sum(1, keepdim=True).clamp(min=1)


def spread_embeddings(tokens: nn.Embedding, bound: float) -> None:
    """Draw the weights uniformly in [-bound, bound], padding's are 0."""
    nn.init.uniform_(tokens.weight, -bound, bound)
    with torch.no_grad():
        tokens.weight[PADDING] = 0


def buckets_of(info: DatasetInfo) -> int:
    """How many token indices the model's view has.

    Raises: ValueError where the view holds no token indices that kdbench_text made.
    """
    buckets = tokens.buckets_of(info.view)
    if buckets is None or len(info.input_shape) != 1:
        raise ValueError(
            f"it reads token indices, the views {', '.join(tokens.BUCKETS)}; view {info.view!r} of {info.name!r} has "
            f"shape {info.input_shape}"
        )
    return buckets


def bag(width: int, info: DatasetInfo) -> Bag:
    """A bag for the dataset's view and classes."""
    return Bag(buckets_of(info), width, info.num_classes)


def textcnn(width: int, maps: int, info: DatasetInfo) -> TextCnn:
    """A convolutional network for the dataset's view and classes."""
    return TextCnn(buckets_of(info), width, maps, info.num_classes)


def gru(width: int, hidden: int, info: DatasetInfo) -> TextGru:
    """A recurrent network for the dataset's view and classes."""
    return TextGru(buckets_of(info), width, hidden, info.num_classes)


def bag_linear(info: DatasetInfo) -> LinearBag:
    """Softmax regression for the dataset's view and classes."""
    return LinearBag(buckets_of(info), info.num_classes)


bag_s = partial(bag, 16)
bag_m = partial(bag, 64)
textcnn_s = partial(textcnn, 32, 32)
textcnn_l = partial(textcnn, 128, 128)
gru_s = partial(gru, 32, 64)
