"""Probabilistic knowledge transfer: who is whose neighbour, as a distribution."""

from typing import Annotated

import kdbench
from kdbench_features.geometry import flat, unit
from kdbench_features.layers import LayerPairs


class ProbabilisticTransfer(LayerPairs):
    """Probabilistic knowledge transfer (Passalis & Tefas, 2018, sec. 3) with the cosine kernel.

    CE + weight · 1/b² · Σ_i Σ_{j≠i} t_{j|i} log(t_{j|i} / s_{j|i}); p_{j|i} = K(x_i, x_j) / Σ_{k≠i} K(x_i, x_k) and
    K(a, b) = ½ (1 + cos(a, b)), no less than `floor`, where a logarithm would not be finite. An item is not its own
    neighbour, as in the paper.
    """

    name = "pkt"
    relational = True
    weight: Annotated[float, kdbench.Meta(ge=0)] = 3e4
    floor: Annotated[float, kdbench.Meta(gt=0, lt=1), kdbench.Search(fixed=True)] = 1e-7

    def terms(self, batch, number, student, teacher):
        """The divergence of the student's neighbourhoods from the teacher's."""
        one, other = self._log_neighbours(student), self._log_neighbours(teacher)
        return {"pkt": self.weight * (other.exp() * (other - one)).sum() / len(student) ** 2}

    def _log_neighbours(self, features):
        directions = unit(flat(features))
        kernel = (0.5 * (1 + directions @ directions.T)).clamp_min(self.floor)
        itself = kernel.new_zeros(kernel.shape).fill_diagonal_(1).bool()
        total = kernel.masked_fill(itself, 0).sum(1, keepdim=True)
        # The diagonal is set to log 1 = 0 in both distributions: their difference there is 0.
        return (kernel.log() - total.clamp_min(self.floor).log()).masked_fill(itself, 0)
