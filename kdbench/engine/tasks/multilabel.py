"""Several labels for each item, each there or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from kdbench.data import Data, DatasetInfo, Preprocess
from kdbench.engine.multilabel_metrics import score_labels
from kdbench.engine.tasks.kind import Answers, Scores, Truth
from kdbench.errors import InvalidData


class MultiLabel:
    """Labels (N, C) of 0 and 1, logits (N, C), sigmoid, binary cross-entropy (mean over items and labels)."""

    whole_split = False

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[np.float32]:
        """0 or 1 for each item and label, as floats. Raises: InvalidData."""
        labels: NDArray[Any] = np.asarray(data.labels)
        if labels.ndim != 2 or labels.shape[1] != len(classes) or labels.dtype.kind not in "biu":
            raise InvalidData(
                f"dataset {name!r}: labels are not one integer or boolean for each item and label",
                f"their dtype is {labels.dtype}, their shape {labels.shape}; there are {len(classes)} labels",
                "give an array of shape (items, labels) of 0 and 1",
            )
        wrong = np.argwhere((labels != 0) & (labels != 1))
        if len(wrong):
            item, label = wrong[0]
            raise InvalidData(
                f"dataset {name!r}: a label is neither 0 nor 1",
                f"item {item} has {labels[item, label]} for {classes[label]!r}",
                "1 where the item has the label, else 0; drop items of which it is not known",
            )
        if not labels.any() or labels.all():
            raise InvalidData(f"dataset {name!r}: every item has {'every' if labels.all() else 'no'} label")
        return labels.astype(np.float32)

    def strata(self, labels: NDArray[Any], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Nothing: there are too many sets of labels to keep each in proportion."""
        return np.zeros(len(labels), dtype=np.int64), ("any",)

    def outputs(self, data: Data, classes: tuple[str, ...]) -> int:
        """One for each label."""
        return len(classes)

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """(N, C)."""
        return items, info.num_classes

    def loss(self, logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
        """Mean binary cross-entropy; smoothed labels are (1−ε)·y + ε/2."""
        wanted = truth.labels.to(logits.dtype)
        if label_smoothing:
            wanted = wanted * (1 - label_smoothing) + label_smoothing / 2
        return binary_cross_entropy_with_logits(logits, wanted)

    def sums(self, logits: Tensor, truth: Truth) -> tuple[Tensor, Tensor, int]:
        """Binary cross-entropy and hits, each the mean over an item's labels."""
        wanted = truth.labels.to(logits.dtype)
        loss = binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)
        hits = ((logits > 0) == (truth.labels > 0.5)).to(torch.float32).mean(1)
        return loss.sum(), hits.sum(), len(wanted)

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """The probability of each label; sigmoid in float64 on the CPU."""
        return Answers(logits.cpu().double().sigmoid().numpy(), truth.labels.cpu().numpy())

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """kdbench.engine.multilabel_metrics.score_labels."""
        return score_labels(answers.values, answers.labels, teacher_probabilities=teacher_values)

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """Probabilities and labels."""
        return {"probabilities": answers.values.astype(np.float32), "labels": answers.labels.astype(np.int8)}

    def confusion(self, answers: Answers) -> list[list[int]]:
        """None: classes do not exclude each other."""
        return []
