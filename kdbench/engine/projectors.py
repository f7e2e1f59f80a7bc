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
    return _projector(student, teacher, normalized=True)


def linear(student: Shape, teacher: Shape) -> nn.Module:
    """A learnt linear map between feature shapes, without the batch dimension; the identity where they are the same.

    As `regressor`, with a bias and without batch norm: what leaves it keeps the scale and the mean of what enters, so
    that a loss on it reaches both.

    Raises: ModelMismatch as `regressor`.
    """
    return nn.Identity() if student == teacher else _projector(student, teacher, normalized=False)


def _projector(student: Shape, teacher: Shape, *, normalized: bool) -> nn.Module:
    if len(student) == len(teacher) == 3:
        layers: list[nn.Module] = [nn.Conv2d(student[0], teacher[0], 1, bias=not normalized)]
        layers += [nn.BatchNorm2d(teacher[0])] if normalized else []
        return nn.Sequential(*layers, *([_Resize(teacher[1:])] if student[1:] != teacher[1:] else []))
    if len(teacher) == 1 and len(student) in {1, 3}:
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if len(student) == 3 else []
        layers = [*pooled, nn.Linear(student[0], teacher[0], bias=not normalized)]
        return nn.Sequential(*layers, *([nn.BatchNorm1d(teacher[0])] if normalized else []))
    raise ModelMismatch(
        f"a student feature of shape {student} cannot be projected to a teacher feature of shape {teacher}",
        "maps (C, H, W) go to maps or vectors, vectors (D,) to vectors",
        "choose other layers: --set student_layer=... --set teacher_layer=...",
    )
