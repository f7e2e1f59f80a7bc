"""The teacher of the sentence task: the embedding itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class Given(nn.Module):
    """Says of an item what the view says, (N, D): a frozen encoder's embedding, computed when the data was prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Identity()
        self.feature_layers = {"penultimate": "embedding"}

    def forward(self, x: Tensor) -> Tensor:
        """The embedding."""
        given: Tensor = self.embedding(x)
        return given


def given(info: DatasetInfo) -> Given:
    """For a view of embeddings of the size that the task's have. Raises: ValueError for any other view or task."""
    if info.task != "retrieval" or info.input_shape != (info.num_classes,):
        raise ValueError(
            f"it gives embeddings ({info.num_classes},) of a retrieval task as they are; view {info.view!r} of "
            f"{info.name!r} ({info.task}) has shape {info.input_shape}"
        )
    return Given()
