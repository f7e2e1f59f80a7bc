"""One class of several, or of two, for each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from kdbench.data import Data, DatasetInfo, Preprocess
from kdbench.engine import metrics
from kdbench.engine.tasks.kind import Answers, Scores, Truth
from kdbench.errors import InvalidData


class Classification:
    """Labels (N,), logits (N, C), softmax, cross-entropy."""

    whole_split = False

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[np.int64]:
        """Class indices, of at least two classes. Raises: InvalidData."""
        labels: NDArray[Any] = np.asarray(data.labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise InvalidData(
                f"dataset {name!r}: labels are not one integer per item",
                f"their dtype is {labels.dtype}, their shape {labels.shape}",
                "give class indices: sklearn.preprocessing.LabelEncoder makes them of names",
            )
        outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(outside):
            raise InvalidData(
                f"dataset {name!r}: a label is outside its {len(classes)} classes",
                f"item {outside[0]} has label {labels[outside[0]]}",
                f"labels go from 0 to {len(classes) - 1}; drop items without a label",
            )
        present = np.unique(labels)
        if len(present) < 2:
            raise InvalidData(
                f"dataset {name!r}: all {len(labels)} items are of {len(present)} class",
                "classification needs items of at least two",
            )
        return labels.astype(np.int64)

    def strata(self, labels: NDArray[Any], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The classes."""
        return labels, classes

    def outputs(self, data: Data, classes: tuple[str, ...]) -> int:
        """One for each class."""
        return len(classes)

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """(N, C)."""
        return items, info.num_classes

    def loss(self, logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy."""
        return cross_entropy(logits, truth.labels, label_smoothing=label_smoothing)

    def sums(self, logits: Tensor, truth: Truth) -> tuple[Tensor, Tensor, int]:
        """Cross-entropy, and how often the most probable class is right."""
        loss = cross_entropy(logits, truth.labels, reduction="sum")
        return loss, (logits.argmax(1) == truth.labels).sum(), len(truth.labels)

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """Class probabilities; softmax in float64 (which Apple's GPUs lack) on the CPU."""
        return Answers(logits.cpu().double().softmax(1).numpy(), truth.labels.cpu().numpy())

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """kdbench.engine.metrics.score."""
        return metrics.score(answers.values, answers.labels, teacher_probabilities=teacher_values)

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """Probabilities and labels."""
        return {"probabilities": answers.values.astype(np.float32), "labels": answers.labels}

    def confusion(self, answers: Answers) -> list[list[int]]:
        """Items by true and predicted class."""
        return metrics.confusion(answers.values, answers.labels, answers.values.shape[1])
