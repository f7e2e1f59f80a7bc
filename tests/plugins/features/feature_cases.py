"""Made-up pairs, batches and features for the feature methods' tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import Batch, ModelInfo, Outputs, Pair

Shape = tuple[int, ...]

CLASSES = 3
MAPS = [((3, 4, 5), (4, 4, 5)), ((2, 6, 4), (5, 3, 4)), ((3, 5, 3), (2, 3, 5)), ((9, 2, 2), (7, 2, 2))]
LAYERS = {"student_layers": ("s",), "teacher_layers": ("t",)}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_batch(items: int, labels: list[int] | None = None, index: list[int] | None = None) -> Batch:
    labels = torch.arange(items) % CLASSES if labels is None else torch.tensor(labels)
    inputs = torch.zeros(items, 1, dtype=torch.float64)
    return Batch(inputs, inputs, labels, torch.arange(items) if index is None else torch.tensor(index), 0.0, 0)


def losses(method: kdbench.Method, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> dict[str, Tensor]:
    batch = batch or make_batch(len(student))
    logits = randn(len(student), CLASSES, seed=9)
    found = dict(
        method.loss(batch, Outputs(logits, {"s": student}, batch.inputs), Outputs(logits, {"t": teacher}, batch.inputs))
    )
    torch.testing.assert_close(found.pop("ce"), nn.functional.cross_entropy(logits, batch.labels))
    return found


def numbers(found: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in found.items()}


def make_pair(student: Shape, teacher: Shape, *, items: int = 20, batch_size: int = 64) -> Pair:
    info = DatasetInfo("made up", "multiclass", CLASSES, (1,), items)
    models = ModelInfo("small", nn.Identity(), {"s": student}), ModelInfo("big", nn.Identity(), {"t": teacher})
    return Pair(info, *models, 1, -(-items // batch_size), batch_size)


def built(method: kdbench.Method, shapes: tuple[Shape, Shape], **options: int) -> kdbench.Method:
    torch.manual_seed(0)
    pair = make_pair(*shapes, **options)
    method.check(pair)
    method.module = method.build(pair).double()
    return method
