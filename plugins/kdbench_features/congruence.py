"""Correlation congruence: the same correlations between the items of a batch."""

import math
from typing import Annotated

import kdbench
from kdbench_features.geometry import flat, unit
from kdbench_features.layers import LayerPairs


class CorrelationCongruence(LayerPairs):
    """Correlation congruence (Peng et al., 2019, sec. 3) with the Gaussian kernel's Taylor expansion.

    CE + weight · ‖C_t − C_s‖²_F / b², C_ij = Σ_{p=0..order} e^(−2γ) (2γ)^p / p! · (x_iᵀ x_j)^p for features at unit
    length, which is exp(−γ ‖x_i − x_j‖²) up to the order.
    """

    name = "cc"
    relational = True
    weight: Annotated[float, kdbench.Meta(ge=0)] = 100.0
    gamma: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(0.1, 2, log=True)] = 0.4
    order: Annotated[int, kdbench.Meta(ge=1, le=20), kdbench.Search(1, 4)] = 2

    def terms(self, batch, number, student, teacher):
        """The mean squared difference of the correlations."""
        return {"cc": self.weight * (self._correlation(teacher) - self._correlation(student)).square().mean()}

    def _correlation(self, features):
        directions = unit(flat(features))
        cosine = directions @ directions.T
        total = 0
        for power in range(self.order, -1, -1):  # Horner
            total = total * cosine + (2 * self.gamma) ** power / math.factorial(power)
        return math.exp(-2 * self.gamma) * total
