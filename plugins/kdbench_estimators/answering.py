"""What gives probabilities, as a module that gives logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import kdbench

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR = 1e-6
"""The least probability: an estimator's 0 is no certainty, and would be a logit of −∞."""

_OFF_BY = 1e-3


class Answering(nn.Module):
    """A teacher of probabilities p: its logits are log max(p, 1e-6), so that softmax(logits) is p, floored, again.

    A method's temperature T makes it p^(1/T), normalised, as it does with a network's answers.
    It runs on the CPU, in NumPy. No gradient passes through it: one that is asked for is refused by name.
    """

    only_answers = True

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        self.name, self.classes = name, classes

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[Any]:
        """Probabilities (N, classes) of the inputs (N, ...)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, float32, shape (N, classes). Raises: ModelMismatch where the estimator gives no probabilities."""
        answers = np.asarray(self.probabilities(inputs.detach().cpu().numpy()))
        self._check(answers, len(inputs))
        logits = np.log(np.maximum(answers.astype(np.float64), FLOOR)).astype(np.float32)
        out = torch.from_numpy(logits).to(inputs.device)
        if inputs.requires_grad and torch.is_grad_enabled():
            refused: Tensor = _Refused.apply(inputs, out, self.name)
            return refused
        return out

    def _check(self, answers: NDArray[Any], items: int) -> None:
        if answers.shape != (items, self.classes):
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} answered {answers.shape} for {items} items of {self.classes} classes",
                fix="it must give a probability of each of the dataset's classes, in their order",
            )
        numbers = answers.dtype.kind == "f" and bool(np.isfinite(answers).all())
        if not (numbers and answers.min(initial=0) > -_OFF_BY and np.abs(answers.sum(1) - 1).max(initial=0) < _OFF_BY):
            raise kdbench.ModelMismatch(
                f"teacher {self.name!r} gives no probabilities",
                f"its first answer is {np.array2string(answers[0], precision=4, threshold=8)}",
                "probabilities are not negative and add up to 1; for logits, end its name with ?output=logits",
            )


class _Refused(torch.autograd.Function):
    """The answers, through which no gradient passes."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, answers: Tensor, name: str) -> Tensor:
        ctx.name = name
        return answers

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise kdbench.MethodRefused(
            f"teacher {ctx.name!r} has no gradients", "it is an estimator that gives probabilities alone"
        )


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities (N, C) of logits (N, C)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(1, keepdims=True)
    return result
