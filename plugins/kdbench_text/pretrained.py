"""all-MiniLM-L6-v2 as a classifier whose weights are all fine-tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from kdbench_models.transformer_layers import transformer_layers
from kdbench_text.models import MaskedMean
from kdbench_text.sentences import minilm_directory, pretrained
from kdbench_text.tokens import PADDING

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class MiniLm(nn.Module):
    """A pretrained BERT-like encoder, the mean of its last hidden states and a linear layer: (N, L) to logits (N, C).

    The mean over the tokens is the pooling that the encoder was trained with (Reimers and Gurevych, 2019). Features as
    `TextEncoder` has: the stages, `embeddings`, `penultimate` (N, width), each layer's queries, keys and values.
    """

    def __init__(self, encoder: Any, classes: int) -> None:
        super().__init__()
        config = encoder.config
        self.attention_heads, self.causal, self.padding_index = config.num_attention_heads, False, PADDING
        self.encoder = encoder.float()
        self.encoder.pooler = None  # it reads the first token alone, and would be a layer without gradient
        self.mean = MaskedMean()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.fc = nn.Linear(config.hidden_size, classes)
        block = "encoder.encoder.layer.{}"
        self.feature_layers = transformer_layers(
            config.num_hidden_layers, block, f"{block}.attention.self", "encoder.embeddings"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        x = x.long()
        mask = x != PADDING
        hidden = self.encoder(input_ids=x, attention_mask=mask.long()).last_hidden_state
        logits: Tensor = self.fc(self.dropout(self.mean(hidden, mask)))
        return logits


def minilm(info: DatasetInfo) -> MiniLm:
    """MiniLM with a new classifier for the dataset's classes.

    Raises: ValueError where the view is not `wordpieces`; DataNotAvailable where the encoder is not on this machine.
    """
    if info.view != "wordpieces":
        raise ValueError(f"it reads MiniLM's own tokens, the view wordpieces, not view {info.view!r} of {info.name!r}")
    return MiniLm(pretrained(minilm_directory(), "AutoModel"), info.num_classes)
