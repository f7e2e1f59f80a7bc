"""Answers that are spans of a text: a first and a last token for each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from kdbench.data import Data, DatasetInfo, Preprocess
from kdbench.engine.span_metrics import best_spans, score_spans
from kdbench.engine.tasks.kind import Answers, Scores, Truth
from kdbench.errors import InvalidData


class Spans:
    """Labels (N, 2), the first and the last place of the answer; logits (N, 2, L), softmax over the places."""

    whole_split = False

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[np.int64]:
        """Two places in order, each one of the `classes`. Raises: InvalidData."""
        labels: NDArray[Any] = np.asarray(data.labels)
        if labels.ndim != 2 or labels.shape[1] != 2 or labels.dtype.kind not in "iu":
            raise InvalidData(
                f"dataset {name!r}: labels are not two integers per item",
                f"their dtype is {labels.dtype}, their shape {labels.shape}",
                "give the first and the last place of each answer, shape (items, 2)",
            )
        wrong = np.flatnonzero((labels[:, 0] < 0) | (labels[:, 1] < labels[:, 0]) | (labels[:, 1] >= len(classes)))
        if len(wrong):
            raise InvalidData(
                f"dataset {name!r}: an answer is no span of its {len(classes)} places",
                f"item {wrong[0]} has {labels[wrong[0]].tolist()}",
                f"places go from 0 to {len(classes) - 1}, the first before the last or the same",
            )
        return labels.astype(np.int64)

    def strata(self, labels: NDArray[Any], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Nothing: there are too many spans to keep each in proportion."""
        return np.zeros(len(labels), dtype=np.int64), ("any",)

    def outputs(self, data: Data, classes: tuple[str, ...]) -> int:
        """One for each place."""
        return len(classes)

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """(N, 2, L)."""
        return items, 2, info.num_classes

    def loss(self, logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy of both ends."""
        return cross_entropy(logits.flatten(0, 1), truth.labels.flatten(), label_smoothing=label_smoothing)

    def sums(self, logits: Tensor, truth: Truth) -> tuple[Tensor, Tensor, int]:
        """Cross-entropy, a mean over an item's ends, and how often the best span is right."""
        loss = cross_entropy(logits.flatten(0, 1), truth.labels.flatten(), reduction="sum") / 2
        found = best_spans(logits.cpu().double().softmax(-1).numpy())
        hits = (truth.labels.new_tensor(found) == truth.labels).all(1).sum()
        return loss, hits, len(truth.labels)

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """Two rows of probabilities for each item, first and last; softmax in float64 on the CPU."""
        rows = logits.flatten(0, 1).cpu().double().softmax(1).numpy()
        return Answers(rows, truth.labels.flatten().cpu().numpy())

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """kdbench.engine.span_metrics.score_spans."""
        of_teacher = None if teacher_values is None else _by_item(teacher_values)
        return score_spans(_by_item(answers.values), answers.labels.reshape(-1, 2), of_teacher)

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """The best span and the right one, (N, 2) each."""
        return {"predicted": best_spans(_by_item(answers.values)), "labels": answers.labels.reshape(-1, 2)}

    def confusion(self, answers: Answers) -> list[list[int]]:
        """None: a text's places squared."""
        return []


def _by_item(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows.reshape(-1, 2, rows.shape[1])
