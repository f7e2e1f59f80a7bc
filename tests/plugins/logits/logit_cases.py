"""What the tests of the logit methods share: methods ready to be called, and random batches."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.method import Batch, ModelInfo, Outputs, Pair
from kdbench_logits import METHODS


def method_class(name: str) -> type[kdbench.Method]:
    module, _, attribute = METHODS[name].target.partition(":")
    found: type[kdbench.Method] = getattr(importlib.import_module(f"kdbench_logits.{module}"), attribute)
    return found


def a_pair(classes: int = 5) -> Pair:
    task = "binary" if classes == 2 else "multiclass"
    info = DatasetInfo("made up", task, classes, (1,), 8)
    return Pair(info, ModelInfo("student", nn.Identity()), ModelInfo("teacher", nn.Identity()), 2, 1)


def ready(name: str, **params: Any) -> kdbench.Method:
    """The method with its modules in float64."""
    method = method_class(name)(**params)
    module = method.build(a_pair())
    method.module = module.double() if module is not None else None
    return method


def logits_of(items: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Student's and teacher's logits in float64, and labels."""
    stream = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(items, classes, generator=stream, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.randint(classes, (items,), generator=stream)


def terms(
    method: kdbench.Method, student: Tensor, teacher: Tensor, labels: Tensor, epoch: int = 0
) -> dict[str, Tensor]:
    inputs = torch.zeros(len(labels), 1)
    batch = Batch(inputs, inputs, labels, torch.arange(len(labels)), 0.0, epoch)
    return dict(method.loss(batch, Outputs(student, {}, inputs), Outputs(teacher, {}, inputs)))
