"""Relational distillation: distances between two items, angles between three."""

from typing import Annotated

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
        one, other, items = _Figure(flat(student)), _Figure(flat(teacher)), len(student)
        gap = _huber(one.distances(), other.distances()).to(student.dtype)
        found = {"distance": self.distance_weight * gap / max(1, items * (items - 1))}
        if self.angle_weight:
            gap = _angle_gap(one.angles(student.dtype), other.angles(student.dtype))
            found["angle"] = self.angle_weight * gap / max(1, items * (items - 1) * (items - 2))
        return found


class _Figure:
    """A batch of points by its distances, in float64: from a Gram matrix, small ones would cancel in float32."""

    def __init__(self, points):
        points = points.double()
        points = points - points.mean(0)
        gram = points @ points.T
        both = gram.diagonal()[:, None] + gram.diagonal()
        squared = both - 2 * gram
        self.apart = squared > TINY * both
        self.squared = squared.masked_fill(~self.apart, 0)
        self.distance = squared.masked_fill(~self.apart, 1).sqrt().masked_fill(~self.apart, 0)

    def distances(self):
        """ψ_D, (b, b): distances over their mean between distinct items."""
        pairs = max(1, len(self.distance) * (len(self.distance) - 1))
        return self.distance / (self.distance.sum() / pairs).clamp_min(TINY)

    def angles(self, dtype):
        """ψ_A, (b, b, b): at [j, i, k] the cosine of the angle i-j-k by its sides; 0 where i or k coincides with j."""
        sides = self.squared.to(dtype)
        inverse = self.distance.masked_fill(~self.apart, 1).reciprocal().masked_fill(~self.apart, 0).to(dtype)
        return (sides[:, :, None] + sides[:, None, :] - sides) * (0.5 * inverse)[:, :, None] * inverse[:, None, :]


def _angle_gap(student, teacher):
    """Summed Huber loss over distinct items: all triplets but those with i = k; those with j are 0 in both models."""
    ends = (angles.diagonal(dim1=1, dim2=2) for angles in (student, teacher))
    return _huber(student, teacher) - _huber(*ends)


def _huber(student, teacher):
    from torch.nn.functional import smooth_l1_loss

    return smooth_l1_loss(student, teacher, reduction="sum")
