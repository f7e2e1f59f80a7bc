"""A model's answers on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench.engine.disk_view import Inputs, part_of
from kdbench.engine.peers import ALONE, Peers
from kdbench.engine.tasks import Truth, kind_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from kdbench.engine.views import Views

BATCH = 512


@torch.inference_mode()
def predict(model: nn.Module, inputs: Inputs, fabric: Fabric) -> Tensor:
    """Logits (N, ..., C) in float32 on the inputs' device, in evaluation mode; the model's mode is restored."""
    training = model.training
    model.eval()
    with fabric.autocast():
        logits = [model(part).float() for part in inputs.split(BATCH)]
    model.train(training)
    return torch.cat(logits)


def evaluate(model: nn.Module, data: Views, fabric: Fabric, peers: Peers = ALONE) -> dict[str, float]:
    """Mean loss on labels, in nats, and accuracy on a split, as the task has them (of retrieval: precision at 1).

    Several processes share the items, where an item's answer is right or wrong by itself; where items are scored
    together, the wholes.
    """
    kind = kind_of(data.task)
    if peers.size == 1 or kind.whole_split:
        loss, hits, count = kind.sums(predict(model, data.student, fabric), data.truth)
        return {"loss": float(loss) / count, "accuracy": float(hits) / count}
    if data.parts is None:
        mine: slice | Tensor = slice(peers.rank, None, peers.size)
        truth = Truth(data.labels[mine])
    else:
        mine = data.parts[:, 0] % peers.size == peers.rank
        truth = Truth(data.labels[mine], parts=data.parts[mine])
    loss, hits, part = kind.sums(predict(model, part_of(data.student, mine), fabric), truth)
    totals = torch.stack([loss.double(), hits.double(), torch.tensor(part).to(loss.device, torch.float64)])
    loss_sum, hit_sum, count = peers.add(totals).tolist()
    return {"loss": loss_sum / count, "accuracy": hit_sum / count}
