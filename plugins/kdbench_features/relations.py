"""Relational distillation: distances between two items, angles between three."""

from typing import Annotated

import torch
from torch.nn.functional import smooth_l1_loss

import kdbench
from kdbench_features.geometry import TINY, flat
from kdbench_features.layers import LayerPairs


class Relational(LayerPairs):
    """Relational knowledge distillation (Park et al., 2019, sec. 3.2).

    CE + distance_weight · RKD-D + angle_weight · RKD-A: Huber losses (δ = 1) between teacher and student of ψ_D, the
    distance of two items over the mean distance μ in the batch, and of ψ_A, the cosine of the angle at the second of
    three items. Both are means over pairs and triplets of distinct items, so that the weights do not depend on the
    batch size. The angle term takes b³ numbers a batch; angle_weight = 0 leaves it out.
    """

    name = "rkd"
    relational = True
    distance_weight: Annotated[float, kdbench.Meta(ge=0)] = 25.0
    angle_weight: Annotated[float, kdbench.Meta(ge=0)] = 50.0

    def terms(self, batch, number, student, teacher):
        """The distance and the angle term."""
        one, other = _Figure(flat(student)), _Figure(flat(teacher))
        same = torch.eye(len(student), dtype=torch.bool, device=student.device)
        found = {"distance": self.distance_weight * _huber(one.distances(), other.distances(), ~same)}
        if self.angle_weight:
            distinct = ~(same[:, :, None] | same[:, None, :] | same[None])
            found["angle"] = self.angle_weight * _huber(one.angles(), other.angles(), distinct)
        return {name: value.to(student.dtype) for name, value in found.items()}


class _Figure:
    """A batch of points by its Gram matrix, in float64: differences of nearby points cancel in float32."""

    def __init__(self, points):
        points = points.double()
        points = points - points.mean(0)
        self.gram = points @ points.T
        self.squares = self.gram.diagonal()
        both = self.squares[:, None] + self.squares
        squared = both - 2 * self.gram
        self.apart = squared > TINY * both
        self.distance = torch.where(self.apart, torch.where(self.apart, squared, 1).sqrt(), 0)

    def distances(self):
        """ψ_D, (b, b): distances over their mean between distinct items."""
        pairs = max(1, len(self.gram) * (len(self.gram) - 1))
        return self.distance / (self.distance.sum() / pairs).clamp_min(TINY)

    def angles(self):
        """ψ_A, (b, b, b): at [j, i, k] the cosine of the angle i-j-k; 0 where two of them coincide."""
        inner = self.gram[None] - self.gram[:, :, None] - self.gram[:, None, :] + self.squares[:, None, None]
        inverse = torch.where(self.apart, 1 / torch.where(self.apart, self.distance, 1), 0)
        return inner * inverse[:, :, None] * inverse[:, None, :]


def _huber(student, teacher, counted):
    each = smooth_l1_loss(student, teacher, reduction="none")
    return torch.where(counted, each, 0).sum() / counted.sum().clamp_min(1)
