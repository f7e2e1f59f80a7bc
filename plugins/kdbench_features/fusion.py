"""ReviewKD's fusion of levels, and its hierarchical context loss."""

import torch
from torch import nn

from kdbench_features.geometry import resized

_CONTEXTS = (4, 2, 1)


class Review(nn.Module):
    """Fuses the student's levels, deep to shallow; `shapes` are (student's, teacher's) of each, shallow to deep."""

    def __init__(self, shapes, width):
        super().__init__()
        last = len(shapes) - 1
        self.fusions = nn.ModuleList(
            Fusion(student[0], width, teacher, fuses=number < last) for number, (student, teacher) in enumerate(shapes)
        )

    def forward(self, levels):
        """A feature like the teacher's for each of the student's levels, in their order."""
        found, known = [], None
        for fusion, level in zip(reversed(self.fusions), reversed(levels), strict=True):
            made, known = fusion(level, known)
            found.append(made)
        return found[::-1]


class Fusion(nn.Module):
    """Attention-based fusion of one level with what the deeper ones left."""

    def __init__(self, inputs, width, shape, *, fuses):
        super().__init__()
        self.shape = shape
        self.reduce = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))
        self.attention = nn.Conv2d(2 * width, 2, 1) if fuses else None
        self.expand = nn.Sequential(nn.Conv2d(width, shape[0], 3, padding=1, bias=False), nn.BatchNorm2d(shape[0]))

    def forward(self, level, known):
        """The level as a teacher's feature, and what is handed on to the next shallower one."""
        level = self.reduce(_maps(level))
        if self.attention is not None:
            known = resized(known, level.shape[2:])
            shares = self.attention(torch.cat((level, known), 1)).sigmoid()
            level = level * shares[:, :1] + known * shares[:, 1:]
        made = self.expand(resized(level, self.shape[1:] or (1, 1)))
        return made.view(len(made), *self.shape), level


def context_loss(student, teacher):
    """HCL of features (N, C, H, W) or (N, D): a mean of squares at each size, weighted 1, ½, ¼..., over their sum."""
    student, teacher = _maps(student), _maps(teacher)
    smaller = [size for size in _CONTEXTS if size < min(student.shape[2:])]
    total = sum(
        0.5**step * (resized(student, size) - resized(teacher, size)).square().mean()
        for step, size in enumerate((tuple(student.shape[2:]), *((size, size) for size in smaller)))
    )
    return total / sum(0.5**step for step in range(len(smaller) + 1))


def _maps(features):
    return features[:, :, None, None] if features.ndim == 2 else features
