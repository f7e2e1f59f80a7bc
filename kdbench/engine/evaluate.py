"""A model's answers on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench.engine.peers import ALONE, Peers

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


def evaluate(model: nn.Module, data: Views, fabric: Fabric, peers: Peers = ALONE) -> dict[str, float]:
    """Mean cross-entropy in nats and accuracy on a split; several processes share its items."""
    if peers.size > 1:
        return _evaluate_together(model, data, fabric, peers)
    logits = predict(model, data.student, fabric)
    loss = nn.functional.cross_entropy(logits, data.labels)
    accuracy = (logits.argmax(1) == data.labels).float().mean()
    return {"loss": float(loss), "accuracy": float(accuracy)}


def _evaluate_together(model: nn.Module, data: Views, fabric: Fabric, peers: Peers) -> dict[str, float]:
    mine = slice(peers.rank, None, peers.size)
    labels = data.labels[mine]
    logits = predict(model, data.student[mine], fabric)
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    totals = torch.stack([loss.double(), (logits.argmax(1) == labels).sum().double()])
    loss_sum, hits = peers.add(totals).tolist()
    return {"loss": loss_sum / len(data.labels), "accuracy": hits / len(data.labels)}
