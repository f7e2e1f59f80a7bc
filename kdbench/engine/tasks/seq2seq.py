"""From one sequence of tokens to another: translation, say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.data import BEGIN, IGNORED_LABEL, Data, DatasetInfo, Preprocess
from kdbench.engine.tasks.tokens import Tokens, check_token_inputs, check_token_labels
from kdbench.errors import InvalidData


class SequenceToSequence(Tokens):
    """Labels (N, T), -100 after the target's end; inputs (N, S + T), the source and what the decoder reads.

    Logits (N, T, C), of the target's places alone; losses and scores are those of tokens, the decoder reading the right
    target (teacher forcing). What a model writes by itself is for a metric of the model to score.
    """

    def check_labels(
        self,
        name: str,
        data: Data,
        views: Mapping[str, NDArray[Any]],
        preprocess: Mapping[str, Preprocess],
        classes: tuple[str, ...],
    ) -> NDArray[np.int64]:
        """The labels, once checked together with what is read.

        Raises: InvalidData, naming the dataset, the view and the first item at fault.
        """
        labels = check_token_labels(name, data.labels, classes)
        asked = labels != IGNORED_LABEL
        gaps = np.flatnonzero((~asked[:, :-1] & asked[:, 1:]).any(axis=1) | ~asked[:, 0])
        if len(gaps):
            raise InvalidData(
                f"dataset {name!r}: a target has a gap",
                f"item {gaps[0]} asks for a token after a place where it asks for none",
                f"give targets from the first place on, {IGNORED_LABEL} after their end alone",
            )
        length = labels.shape[1]
        for view, array in views.items():
            where = f"dataset {name!r}, view {view!r}"
            if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] <= length:
                raise InvalidData(
                    f"{where} does not hold a source and what the decoder reads",
                    f"its dtype is {array.dtype}, its shape {array.shape}; targets have {length} places",
                    "give token indices of shape (items, source length + target length)",
                )
            check_token_inputs(where, array, preprocess[view], classes)
            if len(array) == len(labels):
                _check_read(where, array[:, -length:], labels, asked)
        return labels

    def logits_shape(self, items: int, info: DatasetInfo) -> tuple[int, ...]:
        """(N, T, C)."""
        return items, *info.label_shape, info.num_classes


def _check_read(where: str, read: NDArray[Any], labels: NDArray[np.int64], asked: NDArray[np.bool_]) -> None:
    """The decoder reads the beginning, then each token after it was asked for."""
    wrong = np.column_stack([read[:, 0] != BEGIN, asked[:, 1:] & (read[:, 1:] != labels[:, :-1])])
    if wrong.any():
        item, place = np.argwhere(wrong)[0]
        raise InvalidData(
            f"{where}: the decoder does not read what comes before",
            f"item {item} has {read[item, place]} at place {place} of its target, "
            f"not {BEGIN if place == 0 else labels[item, place - 1]}",
            f"give {BEGIN} (the beginning), then the labels but the last, each one place later",
        )
