"""A split as both models see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdbench.data import Task
from kdbench.engine.disk_view import Inputs
from kdbench.engine.tasks import Truth
from kdbench.method import View

if TYPE_CHECKING:
    from kdbench.engine.datasets import Split


@dataclass(frozen=True, eq=False)
class Views:
    """A split as both models see it, on the device, and what is right: the labels, or the targets of retrieval.

    Inputs are tensors (N, ...), or what gives their rows from disk on the device (`DiskView`). `parts` tell which items
    are scored together (`Data.parts`), `index`, on the CPU, the items' positions in the raw data, where they have any.
    """

    student: Inputs
    teacher: Inputs
    labels: Tensor
    task: Task = "multiclass"
    targets: Tensor | None = None
    parts: Tensor | None = None
    index: Tensor | None = None

    @classmethod
    def of(cls, split: Split, student: str, teacher: str, device: torch.device, task: Task) -> Views:
        """The split's tensors, moved once; of a view on disk its rows are moved when they are read."""
        inputs = split.inputs[student].to(device)
        other = inputs if teacher == student else split.inputs[teacher].to(device)
        targets = None if split.targets is None else split.targets.to(device)
        parts = None if split.parts is None else split.parts.to(device)
        return cls(inputs, other, split.labels.to(device), task, targets, parts, split.index)

    @property
    def truth(self) -> Truth:
        """What is right, for the task to judge by."""
        return Truth(self.labels, self.targets, self.parts)

    def seen_by(self, view: View) -> Views:
        """The split as one of the models sees it, for both."""
        inputs = self.student if view == "student" else self.teacher
        return replace(self, student=inputs, teacher=inputs)
