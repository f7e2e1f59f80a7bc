"""Activation boundaries: on which side of zero each neuron of the teacher is."""

from typing import Annotated

import kdbench
from kdbench_features.information import VariationalInformation
from kdbench_features.layers import Layers
from kdbench_features.stages import TwoStages


class ActivationBoundaries(TwoStages):
    """Activation-boundary transfer (Heo et al., 2019, AAAI, sec. "Method", eq. 7): a stage of its own, then labels.

    First weight · Σ over layers of mean ρ · max(0, μ − r(s))² + (1 − ρ) · max(0, μ + r(s))², where s and t are features
    before the activation, ρ is 1 where t > 0 and 0 elsewhere, μ is `margin`, and r, the `kdbench.projectors` regressor,
    brings the student's to the teacher's shape. Means are over items, channels and positions, where the paper sums: the
    weight, alone in its stage, acts as a factor of the learning rate. Then CE, with soft targets where kd > 0.
    """

    name = "ab"
    normalizes = True
    student_layers: Layers = ("first:pre", "middle:pre", "last:pre")
    teacher_layers: Layers = ("first:pre", "middle:pre", "last:pre")
    weight: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    margin: Annotated[float, kdbench.Meta(gt=0)] = 1.0

    mismatch = VariationalInformation.mismatch

    def build(self, pair):
        """A regressor for each pair of layers."""
        from torch import nn

        return nn.ModuleList(kdbench.projectors.regressor(*shapes) for shapes in self.shapes(pair))

    def terms(self, batch, number, student, teacher):
        """The squared shortfall from the margin on the teacher's side."""
        projected = self.module[number](student)
        shortfall = (self.margin - projected.where(teacher > 0, -projected)).relu()
        return {"ab": self.weight * shortfall.square().mean()}
