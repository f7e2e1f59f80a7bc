"""Neuron selectivity transfer: the distribution of the channels' patterns."""

from typing import Annotated

import kdbench
from kdbench_features.geometry import same_size, unit
from kdbench_features.layers import LayerPairs, Layers


class NeuronSelectivity(LayerPairs):
    """Neuron selectivity transfer (Huang & Wang, 2017, sec. 4), polynomial kernel of degree 2 without constant.

    CE + weight · Σ over layers of the batch mean of MMD² between the teacher's and the student's channels, each a map
    at unit length: mean k(t, t') + mean k(s, s') − 2 mean k(t, s), k(x, y) = (xᵀy)². The paper's λ/2 is within the
    weight. Models may differ in channels; maps of different size are averaged down to the smaller.
    """

    name = "nst"
    maps = True
    student_layers: Layers = ("last",)
    teacher_layers: Layers = ("last",)
    weight: Annotated[float, kdbench.Meta(ge=0)] = 50.0

    def terms(self, batch, number, student, teacher):
        """MMD² of the channels."""
        one, other = (unit(maps.flatten(2)) for maps in same_size(student, teacher))
        return {"nst": self.weight * _mmd(one, other)}


def _mmd(one, other):
    """Mean over items of MMD² of two sets of vectors, (N, C, D) and (N, C', D)."""
    if one.shape[2] <= max(one.shape[1], other.shape[1]):
        # mean (xᵀy)² = ⟨mean xxᵀ, mean yyᵀ⟩: the same number from D×D moments, the smaller here.
        moments = (vectors.mT @ vectors / vectors.shape[1] for vectors in (one, other))
        return (next(moments) - next(moments)).square().sum((1, 2)).mean()
    return _kernel(one, one) + _kernel(other, other) - 2 * _kernel(one, other)


def _kernel(one, other):
    return (one @ other.mT).square().mean()
