"""Made-up pairs of the compression methods' tests, and what is asked of their models."""

from __future__ import annotations

import torch
from torch import nn

from kdbench.data import DatasetInfo
from kdbench.method import ModelInfo, Pair


def made_up_pair(model: nn.Module, shape: tuple[int, ...], classes: int = 3) -> Pair:
    """A pair whose teacher, and student, is the given model."""
    info = DatasetInfo("made up", "multiclass", classes, shape, 100)
    return Pair(info, ModelInfo("student", model), ModelInfo("teacher", model), 1, 1)


def zeros(model: nn.Module) -> int:
    """How many weights of its convolutions and linear layers are exactly 0."""
    return sum(int((m.weight == 0).sum()) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))


def weights(model: nn.Module) -> int:
    """How many weights its convolutions and linear layers have."""
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))


def answers(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Logits in evaluation mode, without autograd."""
    with torch.no_grad():
        return model.eval()(inputs)
