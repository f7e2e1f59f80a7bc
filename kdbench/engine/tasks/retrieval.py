"""Embeddings that find their partners: an item's answer, a caption's picture, another picture of the same person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from kdbench.data import Data, DatasetInfo, Preprocess
from kdbench.engine.retrieval_metrics import score_search, score_verification
from kdbench.engine.tasks.kind import Answers, Scores, Truth
from kdbench.errors import InvalidData

TEMPERATURE = 0.07
"""Of the loss on labels (He et al., 2020, MoCo; CLIP's initial value)."""
_ROWS = 1024


class Retrieval:
    """Models return embeddings (N, D), compared by cosine; items of the same label belong together.

    With targets (N, D), frozen embeddings of the partners, an item has to find its partner's among those of its split.
    Without, items of one label have to be more alike than others (verification).
    """

    whole_split = True

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[np.int64]:
        """One non-negative integer an item. Raises: InvalidData."""
        labels: NDArray[Any] = np.asarray(data.labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise InvalidData(
                f"dataset {name!r}: labels are not one integer per item",
                f"their dtype is {labels.dtype}, their shape {labels.shape}",
                "give each item the number of what it shows: items of one number belong together",
            )
        outside = np.flatnonzero((labels < 0) | ((labels >= len(classes)) if classes else False))
        if len(outside):
            raise InvalidData(
                f"dataset {name!r}: a label is outside its {len(classes) or 'non-negative'} numbers",
                f"item {outside[0]} has label {labels[outside[0]]}",
            )
        if len(np.unique(labels)) < 2:
            raise InvalidData(f"dataset {name!r}: all items have the same label", "there is nothing to tell apart")
        return labels.astype(np.int64)

    def strata(self, labels: NDArray[Any], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Nothing: labels are met in one split alone where the data's groups say so."""
        return np.zeros(len(labels), dtype=np.int64), ("any",)

    def outputs(self, data: Data, classes: tuple[str, ...]) -> int:
        """The size of the embedding."""
        return data.embedding if data.targets is None else data.targets.shape[1]

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """(N, D)."""
        return items, info.num_classes

    def loss(self, logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
        """InfoNCE in the batch at temperature 0.07, all items of the same label being positives.

        With targets the mean over both directions, item to target and target to item (van den Oord et al., 2018, eq. 4;
        Radford et al., 2021). Without, the supervised contrastive loss (Khosla et al., 2020, eq. 2) over the items that
        have a partner in the batch; 0 where none has.
        """
        queries = normalize(logits, dim=1)
        same = truth.labels[:, None] == truth.labels
        if truth.targets is None:
            likeness = queries @ queries.T / TEMPERATURE
            itself = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
            return _supervised(likeness.masked_fill(itself, -torch.inf), same & ~itself)
        likeness = queries @ normalize(truth.targets.to(queries.dtype), dim=1).T / TEMPERATURE
        return (_supervised(likeness, same) + _supervised(likeness.T, same)) / 2

    def sums(self, logits: Tensor, truth: Truth) -> tuple[Tensor, Tensor, int]:
        """The loss with the split as one batch, and how often the nearest is right."""
        queries, itself = normalize(logits, dim=1), truth.targets is None
        others = queries if truth.targets is None else normalize(truth.targets.to(queries.dtype), dim=1)
        loss, hits, counted = queries.new_zeros(()), queries.new_zeros(()), 0
        for start in range(0, len(queries), _ROWS):
            likeness = queries[start : start + _ROWS] @ others.T / TEMPERATURE
            same = truth.labels[start : start + _ROWS, None] == truth.labels
            if itself:
                rows = torch.arange(len(likeness), device=likeness.device)
                likeness[rows, rows + start], same[rows, rows + start] = -torch.inf, False
            some = same.any(1)
            loss += _supervised(likeness, same) * some.sum()
            hits += same.gather(1, likeness.argmax(1, keepdim=True)).sum()
            counted += int(some.sum())
        return loss, hits, max(counted, 1)

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """Embeddings as the model gives them."""
        targets = None if truth.targets is None else truth.targets.cpu().double().numpy()
        return Answers(logits.cpu().double().numpy(), truth.labels.cpu().numpy(), targets)

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """kdbench.engine.retrieval_metrics: of search where there are targets, else of verification."""
        if answers.targets is None:
            return score_verification(answers.values, answers.labels)
        return score_search(answers.values, answers.targets, answers.labels, teacher_embeddings=teacher_values)

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """Embeddings and labels."""
        return {"embeddings": answers.values.astype(np.float32), "labels": answers.labels}

    def confusion(self, answers: Answers) -> list[list[int]]:
        """None: there are no classes."""
        return []


def _supervised(likeness: Tensor, same: Tensor) -> Tensor:
    """Mean over the rows with a positive of the mean −log softmax of their positives."""
    logs = likeness.log_softmax(1).masked_fill(~same, 0)  # before the sum: 0 · −inf is not a number
    positives = same.sum(1)
    each = -logs.sum(1) / positives.clamp(min=1)
    return each.sum() / (positives > 0).sum().clamp(min=1)
