"""Answers that are spans of a text: a first and a last token for each item, or for each whole of which items are parts.

A text that is too long for a model is read in windows (`Data.parts`). Each is an item of training like any other, and
one that does not hold the answer whole has place 0 for its label, as BERT has [CLS] for it. Measured are wholes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from kdbench.data import Data, DatasetInfo, Preprocess
from kdbench.engine.span_metrics import answered, right_spans, score_spans
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
        """Two places in order, each one of the `classes`; of parts, those of one span in each whole.

        Raises: InvalidData.
        """
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
        if data.parts is not None:
            _check_parts(name, labels, np.asarray(data.parts))
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
        """Cross-entropy, a mean over an item's ends, and how often the best span is right.

        Of parts both are a whole's: the mean of its parts' losses, and the best span of all of them.
        """
        said = self.answers(logits, truth)
        spans = said.labels.reshape(-1, 2)
        found = answered(_by_item(said.values), said.parts)
        hits = torch.tensor((found == right_spans(spans, said.parts)).all(axis=1).sum(), device=logits.device)
        if truth.parts is None:
            loss = cross_entropy(logits.flatten(0, 1), truth.labels.flatten(), reduction="sum") / 2
            return loss, hits, len(found)
        each = cross_entropy(logits.flatten(0, 1), truth.labels.flatten(), reduction="none").view(-1, 2).mean(1)
        whole = truth.parts[:, 0]
        return (each / whole.bincount()[whole]).sum(), hits, len(found)

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """Two rows of probabilities for each item, first and last; softmax in float64 on the CPU."""
        rows = logits.flatten(0, 1).cpu().double().softmax(1).numpy()
        parts = None if truth.parts is None else truth.parts.cpu().numpy()
        return Answers(rows, truth.labels.flatten().cpu().numpy(), parts=parts)

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """kdbench.engine.span_metrics.score_spans."""
        of_teacher = None if teacher_values is None else _by_item(teacher_values)
        return score_spans(_by_item(answers.values), answers.labels.reshape(-1, 2), of_teacher, answers.parts)

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """The best span and the right one, (N, 2) each; of parts those of wholes, as places of the whole text."""
        return {
            "predicted": answered(_by_item(answers.values), answers.parts),
            "labels": right_spans(answers.labels.reshape(-1, 2), answers.parts),
        }

    def confusion(self, answers: Answers) -> list[list[int]]:
        """None: a text's places squared."""
        return []


def _check_parts(name: str, labels: NDArray[np.int64], parts: NDArray[Any]) -> None:
    """Raise InvalidData unless parts are (whole, place) and each whole has one answer, in one of its parts at least."""
    if parts.shape != labels.shape or parts.dtype.kind not in "iu" or (parts < 0).any():
        raise InvalidData(
            f"dataset {name!r}: parts are not two non-negative integers per item",
            f"their dtype is {parts.dtype}, their shape {parts.shape}; labels have shape {labels.shape}",
            "give the number of each item's whole and the place in it where the item begins",
        )
    half = np.flatnonzero((labels[:, 0] == 0) & (labels[:, 1] != 0))
    if len(half):
        raise InvalidData(
            f"dataset {name!r}: an answer begins at place 0 of a part, which stands for no answer",
            f"item {half[0]} has {labels[half[0]].tolist()}",
            "give 0 for both ends, or places from 1 on",
        )
    right = right_spans(labels, parts)
    names, whole = np.unique(parts[:, 0], return_inverse=True)
    silent = np.flatnonzero(right[:, 0] < 0)
    if len(silent):
        raise InvalidData(
            f"dataset {name!r}: no part of a whole holds its answer",
            f"whole {names[silent[0]]}",
            "give parts that overlap more, or leave the whole out",
        )
    own = labels - 1 + parts[:, 1:]
    other = np.flatnonzero((labels[:, 0] > 0) & (own != right[whole]).any(axis=1))
    if len(other):
        item = other[0]
        raise InvalidData(
            f"dataset {name!r}: two parts of whole {parts[item, 0]} have different answers",
            f"item {item} has places {own[item].tolist()} of its text, another part {right[whole[item]].tolist()}",
            "give each part the whole's answer, or 0 for both ends",
        )


def _by_item(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows.reshape(-1, 2, rows.shape[1])
