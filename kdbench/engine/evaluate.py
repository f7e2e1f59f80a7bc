"""A model's answers on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from kdbench.engine.train import Views

BATCH = 512


@torch.inference_mode()
def predict(model: nn.Module, inputs: Tensor, fabric: Fabric) -> Tensor:
    """Logits (N, C) in float32 on the inputs' device, in evaluation mode; the model's mode is restored."""
    training = model.training
    model.eval()
    with fabric.autocast():
        logits = [model(part).float() for part in torch.split(inputs, BATCH)]
    model.train(training)
    return torch.cat(logits)


def evaluate(model: nn.Module, data: Views, fabric: Fabric) -> dict[str, float]:
    """Mean cross-entropy in nats and accuracy on a split."""
    logits = predict(model, data.student, fabric)
    loss = nn.functional.cross_entropy(logits, data.labels)
    accuracy = (logits.argmax(1) == data.labels).float().mean()
    return {"loss": float(loss), "accuracy": float(accuracy)}
