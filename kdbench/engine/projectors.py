"""Modules that bring a student's feature to the shape of a teacher's."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.errors import ModelMismatch

Shape = tuple[int, ...]


class _Resize(nn.Module):
    def __init__(self, size: Shape) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, maps: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(maps, self.size)  # type: ignore[arg-type]


def regressor(student: Shape, teacher: Shape) -> nn.Module:
    """A learnt map between feature shapes, without the batch dimension: FitNet's r (Romero et al., 2015).

    Maps (C, H, W) to maps: a 1×1 convolution and batch norm, then average pooling to the teacher's size where it
    differs. Vectors to vectors: a linear layer and batch norm. Maps to vectors: global average pooling before them.
    Batch norm keeps the map's scale from growing without bound under the large weights that hints are given.

    Raises: ModelMismatch for vectors to maps, or shapes that are neither.
    """
    if len(student) == len(teacher) == 3:
        layers: list[nn.Module] = [nn.Conv2d(student[0], teacher[0], 1, bias=False), nn.BatchNorm2d(teacher[0])]
        return nn.Sequential(*layers, *([_Resize(teacher[1:])] if student[1:] != teacher[1:] else []))
    if len(teacher) == 1 and len(student) == 3:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_linear(student[0], teacher[0]))
    if len(teacher) == len(student) == 1:
        return nn.Sequential(*_linear(student[0], teacher[0]))
    raise ModelMismatch(
        f"a student feature of shape {student} cannot be projected to a teacher feature of shape {teacher}",
        "maps (C, H, W) go to maps or vectors, vectors (D,) to vectors",
        "choose other layers: --set student_layer=... --set teacher_layer=...",
    )


def _linear(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)]
