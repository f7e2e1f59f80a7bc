"""Contrast across modalities, with the batch's other items as negatives."""

from typing import Annotated, Literal

import kdbench
from kdbench_features.geometry import flat, unit
from kdbench_features.layers import LayerPairs


class ContrastiveCrossModal(LayerPairs):
    """InfoNCE between a student's and a teacher's modality (van den Oord et al., 2018, eq. 4; Tian et al., 2020).

    ce · CE + weight · (InfoNCE from student to teacher + from teacher to student), each the batch mean of
    −log (e^(u_i·v_i/τ) / Σ_j e^(u_i·v_j/τ)) over linear embeddings u, v at unit length. The negatives j are all other
    items of the batch, which needs no labels (ce=0 then reads none, and leaves the last layer to the recipe's final
    fine-tune); negatives="other-class" leaves out those of the item's own class. Weight, τ and size are those of `crd`.
    """

    tasks = ("binary", "multiclass", "retrieval")
    name = "contrastive_crossmodal"
    relational = True
    weight: Annotated[float, kdbench.Meta(gt=0)] = 0.8
    ce: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    temperature: Annotated[float, kdbench.Meta(ge=0.01)] = 0.07
    size: Annotated[int, kdbench.Meta(ge=1)] = 128
    negatives: Literal["all", "other-class"] = "all"

    @property
    def learns_answers(self):
        """By the loss on labels alone: the contrast ends at the layer, and a model's last one comes after it."""
        return self.ce > 0

    def build(self, pair):
        """Two linear embeddings for each pair of layers."""
        from math import prod

        from torch import nn

        return nn.ModuleList(
            nn.ModuleList(nn.Linear(prod(shape), self.size) for shape in shapes) for shapes in self.shapes(pair)
        )

    def loss(self, batch, student, teacher):
        """The contrast, and weighted cross-entropy."""
        found = super().loss(batch, student, teacher)
        ce = found.pop("ce")
        return {"ce": self.ce * ce, **found} if self.ce else found

    def terms(self, batch, number, student, teacher):
        """InfoNCE in both directions."""
        import torch
        from torch.nn.functional import cross_entropy

        one, other = (
            unit(linear(flat(features)))
            for linear, features in zip(self.module[number], (student, teacher), strict=True)
        )
        scores = one @ other.T / self.temperature
        own = torch.arange(len(scores), device=scores.device)
        if self.negatives == "other-class":
            same = (batch.labels[:, None] == batch.labels) & (own[:, None] != own)
            scores = scores.masked_fill(same, -torch.inf)
        return {"contrast": self.weight * (cross_entropy(scores, own) + cross_entropy(scores.T, own))}
