"""Items of many tokens: what their data must be, and which of their tokens count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from kdbench.data import IGNORED_LABEL, Data, DatasetInfo, Preprocess
from kdbench.engine import metrics
from kdbench.engine.tasks.kind import Answers, Scores, Truth
from kdbench.errors import InvalidData


class Tokens:
    """Labels (N, L), -100 where nothing is asked; logits (N, L, C); means over the tokens that are asked for."""

    whole_split = False

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[np.int64]:
        """The labels, (N, L), once checked together with the token indices.

        Raises: InvalidData, naming the dataset, the view and the first item at fault.
        """
        labels = check_token_labels(name, data.labels, classes)
        for view, array in views.items():
            where = f"dataset {name!r}, view {view!r}"
            if (
                array.dtype.kind not in "iu"
                or array.ndim != 2
                or (len(array) == len(labels) and array.shape != labels.shape)
            ):
                raise InvalidData(
                    f"{where} does not hold one token index per label",
                    f"its dtype is {array.dtype}, its shape {array.shape}; the labels' is {labels.shape}",
                    "give integers of shape (items, length)",
                )
            check_token_inputs(where, array, preprocess[view], classes)
        return labels

    def strata(self, labels: NDArray[Any], classes: tuple[str, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Nothing: an item is many tokens."""
        return np.zeros(len(labels), dtype=np.int64), ("any",)

    def outputs(self, data: Data, classes: tuple[str, ...]) -> int:
        """One for each token of the vocabulary."""
        return len(classes)

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """(N, L, C)."""
        return items, info.input_shape[0], info.num_classes

    def loss(self, logits: Tensor, truth: Truth, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy over the tokens that are asked for; 0 where none is."""
        total = cross_entropy(
            logits.flatten(0, -2), truth.labels.flatten(), label_smoothing=label_smoothing, reduction="sum"
        )
        return total / (truth.labels != IGNORED_LABEL).sum().clamp(min=1)

    def sums(self, logits: Tensor, truth: Truth) -> tuple[Tensor, Tensor, int]:
        """Cross-entropy, and how often the most probable token is right."""
        rows, labels = scored(logits, truth.labels)
        return cross_entropy(rows, labels, reduction="sum"), (rows.argmax(1) == labels).sum(), len(labels)

    def answers(self, logits: Tensor, truth: Truth) -> Answers:
        """A row of probabilities for each token that is asked for, item by item; softmax in float64 on the CPU."""
        rows, labels = scored(logits, truth.labels)
        return Answers(rows.cpu().double().softmax(1).numpy(), labels.cpu().numpy())

    def score(self, answers: Answers, teacher_values: NDArray[np.float64] | None = None) -> Scores:
        """kdbench.engine.metrics.score_tokens."""
        return metrics.score_tokens(answers.values, answers.labels, teacher_probabilities=teacher_values)

    def kept(self, answers: Answers) -> dict[str, NDArray[Any]]:
        """The predicted token and the right one's probability: all probabilities would be too many."""
        return metrics.token_predictions(answers.values, answers.labels) | {"labels": answers.labels}

    def confusion(self, answers: Answers) -> list[list[int]]:
        """None: a vocabulary squared."""
        return []


def scored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One row of logits and one label for each token that counts.

    Args:
        logits: (N, L, C) with labels (N, L), of which those that are not -100 are taken, item by item.

    Returns: (R, C) and (R,).
    """
    counted = labels != IGNORED_LABEL
    return logits[counted], labels[counted]


def check_token_labels(name: str, values: object, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Labels (N, L) in the vocabulary, -100 where nothing is asked; every item asks for something.

    Raises: InvalidData.
    """
    labels: NDArray[Any] = np.asarray(values)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InvalidData(
            f"dataset {name!r}: labels are not one integer per token",
            f"their dtype is {labels.dtype}, their shape {labels.shape}",
            f"give token indices of shape (items, length), {IGNORED_LABEL} where nothing is asked",
        )
    _check_indices(f"dataset {name!r}: a label", labels, len(classes), ignored=True)
    silent = np.flatnonzero((labels == IGNORED_LABEL).all(axis=1))
    if len(silent):
        raise InvalidData(
            f"dataset {name!r}: an item asks for no token", f"all labels of item {silent[0]} are {IGNORED_LABEL}",
            "drop it",
        )  # fmt: skip
    return labels.astype(np.int64)


def check_token_inputs(where: str, array: NDArray[Any], how: Preprocess, classes: tuple[str, ...]) -> None:
    """Token indices in the vocabulary, not preprocessed. Raises: InvalidData."""
    if how != "none":
        raise InvalidData(
            f"{where} would be preprocessed with {how!r}", "token indices are names, not amounts",
            'give preprocess="none"',
        )  # fmt: skip
    _check_indices(f"{where}: a token", array, len(classes), ignored=False)


def _check_indices(what: str, values: NDArray[Any], size: int, *, ignored: bool) -> None:
    outside = (values < 0) | (values >= size)
    if ignored:
        outside &= values != IGNORED_LABEL
    if outside.any():
        item, place = np.argwhere(outside)[0]
        raise InvalidData(
            f"{what} is outside the vocabulary of {size}",
            f"item {item} has {values[item, place]} at place {place}",
            f"indices go from 0 to {size - 1}",
        )
