"""What every task answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kdbench.data import Data, DatasetInfo, Preprocess


class Truth(NamedTuple):
    """What is right for some items.

    Attributes:
        labels: the items' labels.
        targets: of a retrieval task the embeddings that they should find, (N, D).
        parts: of items that are scored together the whole of each, and where in it it begins, (N, 2); `Data.parts`.
    """

    labels: Tensor
    targets: Tensor | None = None
    parts: Tensor | None = None


class Answers(NamedTuple):
    """What a model said of a split, on the CPU, beside what is right.

    Attributes:
        values: float64, (R, C): class probabilities, one row for each answer that counts (an item, or a token that is
            scored); of a multi-label task the probability of each label; of a retrieval task embeddings.
        labels: (R,), or (R, C) of a multi-label task.
        targets: float64, (R, C), or None.
        parts: of items that are scored together, (N, 2), or None.
    """

    values: NDArray[np.float64]
    labels: NDArray[Any]
    targets: NDArray[np.float64] | None = None
    parts: NDArray[np.int64] | None = None


Scores = dict[str, float | None]


class TaskKind(Protocol):
    """One task. `logits` are what models return, whole items of them."""

    whole_split: bool
    """Whether an answer is right or wrong among all others of its split: processes cannot share a split's items."""

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[Any]:
        """The labels, once they and all that depends on them are checked. Raises: InvalidData."""

    def strata(self, labels: NDArray[Any], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """What the split keeps in proportion, a code for each item, with the codes' names."""

    def outputs(self, data: Data, classes: tuple[str, ...]) -> int:
        """How many numbers a model says of an item or token: `DatasetInfo.num_classes`."""

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """The shape of a model's logits."""

    def loss(self, logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss on labels, in nats, with autograd: what the undistilled student is trained on."""

    def sums(self, logits: Tensor, truth: Truth) -> tuple[Tensor, Tensor, int]:
        """Sum of the losses, sum of the hits, and how many answers count: loss and accuracy during training."""

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """What is scored and kept."""

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """Every metric of a split, by the names of kdbench.metric_info; `teacher_values` are the teacher's answers."""

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """The arrays that are kept beside a record."""

    def confusion(self, answers: Answers) -> list[list[int]]:
        """Items by true class (row) and predicted class (column); empty where that says nothing."""
