"""Test, then train: how a model does on a stream that it goes on learning from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated

import msgspec

import kdbench

if TYPE_CHECKING:
    from torch import Tensor, nn


class PrequentialAccuracy:
    """Accuracy of a copy of the model that learns from each part of the stream after it has answered it (Dawid, 1984).

    The split's items in their order, which is time's, in parts of `items`: the copy answers a part, then its labels are
    shown to it and it takes one step of SGD at `lr` on their cross-entropy. The first part is answered as the model
    came; with lr=0 it is plain accuracy. `prequential_accuracy` is `prequential_accuracy:items=32,lr=0.01`.

    Raises: InvalidParameter for settings that are unknown or out of range.
    """

    def __init__(self, text: str = "") -> None:
        try:
            pairs = dict(part.split("=", 1) for part in text.split(",") if part)
            self.settings = msgspec.convert(pairs, _Settings, strict=False)
        except (ValueError, msgspec.ValidationError) as error:
            raise kdbench.InvalidParameter(
                f"metric 'prequential_accuracy:{text}'", str(error), "prequential_accuracy:items=32,lr=0.01"
            ) from error

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
        """The share of right answers: inputs (N, ...), labels (N,), both in the order of time."""
        import torch

        learner = copy.deepcopy(model).requires_grad_(True).eval()  # batch norm keeps the statistics that it came with
        optimizer = torch.optim.SGD(learner.parameters(), lr=self.settings.lr)
        right = 0
        with torch.enable_grad():
            for part, truth in zip(inputs.split(self.settings.items), labels.split(self.settings.items), strict=True):
                logits = learner(part)
                right += int((logits.argmax(1) == truth).sum())
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(logits, truth).backward()
                optimizer.step()
        return right / len(labels)


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[int, kdbench.Meta(ge=1)] = 32
    lr: Annotated[float, kdbench.Meta(ge=0)] = 0.01
