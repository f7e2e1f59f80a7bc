"""A model's answers on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench.engine.peers import ALONE, Peers
from kdbench.engine.tokens import count_scored, scored

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from kdbench.engine.train import Views

BATCH = 512


@torch.inference_mode()
def predict(model: nn.Module, inputs: Tensor, fabric: Fabric) -> Tensor:
    """Logits (N, ..., C) in float32 on the inputs' device, in evaluation mode; the model's mode is restored."""
    training = model.training
    model.eval()
    with fabric.autocast():
        logits = [model(part).float() for part in torch.split(inputs, BATCH)]
    model.train(training)
    return torch.cat(logits)


def evaluate(model: nn.Module, data: Views, fabric: Fabric, peers: Peers = ALONE) -> dict[str, float]:
    """Mean cross-entropy in nats and accuracy on a split, of items or of tokens; several processes share its items."""
    if peers.size > 1:
        return _evaluate_together(model, data, fabric, peers)
    logits, labels = scored(predict(model, data.student, fabric), data.labels)
    loss = nn.functional.cross_entropy(logits, labels)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"loss": float(loss), "accuracy": float(accuracy)}


def _evaluate_together(model: nn.Module, data: Views, fabric: Fabric, peers: Peers) -> dict[str, float]:
    mine = slice(peers.rank, None, peers.size)
    logits, labels = scored(predict(model, data.student[mine], fabric), data.labels[mine])
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    totals = torch.stack([loss.double(), (logits.argmax(1) == labels).sum().double()])
    loss_sum, hits = peers.add(totals).tolist()
    count = count_scored(data.labels)
    return {"loss": loss_sum / count, "accuracy": hits / count}
