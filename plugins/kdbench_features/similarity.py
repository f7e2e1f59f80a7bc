"""Similarity-preserving distillation: which items of a batch are alike."""

from typing import Annotated

import kdbench
from kdbench_features.geometry import flat, unit
from kdbench_features.layers import LayerPairs, Layers


class SimilarityPreserving(LayerPairs):
    """Similarity-preserving distillation (Tung & Mori, 2019, eq. 1-4).

    CE + weight · Σ over layers of ‖G_t − G_s‖²_F / b², G the Gram matrix QQᵀ of the batch's flat features with its rows
    at unit length.
    """

    name = "sp"
    relational = True
    student_layers: Layers = ("last",)
    teacher_layers: Layers = ("last",)
    weight: Annotated[float, kdbench.Meta(ge=0)] = 3000.0

    def terms(self, batch, number, student, teacher):
        """The mean squared difference of the row-normalised Gram matrices."""
        one, other = (unit(rows @ rows.T) for rows in (flat(student), flat(teacher)))
        return {"sp": self.weight * (one - other).square().mean()}
