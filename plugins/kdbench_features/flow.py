"""FSP: how the features of one layer become those of the next."""

from itertools import pairwise
from typing import Annotated

import kdbench
from kdbench_features.geometry import same_size
from kdbench_features.layers import Layers
from kdbench_features.stages import TwoStages


class FlowOfSolution(TwoStages):
    """Flow of the solution procedure (Yim et al., 2017, sec. 3, eq. 1-2): a stage of its own, then labels.

    First weight · Σ over consecutive layers of mean (G_t − G_s)², G the matrix of inner products of the channels of one
    layer with those of the next, Σ over positions of f_i f'_j / (h · w). The mean is over items and the matrix, where
    the paper sums. Maps of different size are averaged down to the smaller. Both models need as many channels. Then CE,
    with soft targets where kd > 0.
    """

    name = "fsp"
    student_layers: Layers = ("first", "middle", "last")
    teacher_layers: Layers = ("first", "middle", "last")
    weight: Annotated[float, kdbench.Meta(gt=0)] = 50.0

    def mismatch(self, student, teacher):
        """Matrices are compared number by number: maps of as many channels."""
        if not len(student) == len(teacher) == 3:
            return "it needs feature maps (C, H, W) of both models"
        return "" if student[0] == teacher[0] else "it needs as many channels in both models"

    def check(self, pair):
        """Also refuse a single layer, which flows nowhere."""
        super().check(pair)
        if len(self.student_layers) < 2:
            layers = f"student_layers {self.student_layers}, teacher_layers {self.teacher_layers}"
            self.refuse("it compares two layers of a model with each other", layers, self._example())

    def _example(self):
        sides = (f'--set \'{self.name}.{side}_layers=["first","last"]\'' for side in ("student", "teacher"))
        return " ".join(sides)

    def layer_terms(self, batch, student, teacher):
        """The mean squared difference of the matrices, summed over consecutive layers."""
        pairs = self.paired(student, teacher)
        gaps = ((_flow(one[0], two[0]) - _flow(one[1], two[1])).square().mean() for one, two in pairwise(pairs))
        return {"fsp": self.weight * sum(gaps)}


def _flow(one, other):
    """(N, C, C') of maps (N, C, H, W) and (N, C', H', W')."""
    one, other = (maps.flatten(2) for maps in same_size(one, other))
    return one @ other.mT / one.shape[2]
