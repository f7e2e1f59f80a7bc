"""Alignment of the loss's gradient at a feature: the teacher's burden handed to the student."""

from typing import Annotated

import kdbench
from kdbench_features.geometry import same_size
from kdbench_gradients.frame import AtFeature, Said, angle, slope


class GradientAlignment(AtFeature):
    """The gradient of the loss at a shared feature, aligned with the teacher's.

    kd + weight · mean over items of ‖u(P g_s) − u(g_t)‖² = 2 − 2·cosine, g = ∂CE(z, y)/∂f for each model's feature f
    and the item's label y, u(·) at unit length. It is the loss gradient that gradient-based attention transfer
    (Zagoruyko & Komodakis, 2017, sec. 3.2) matches at the input, taken at a hidden layer: its length says how wrong the
    model is, its direction in which way. Where the widths differ P is a learnt linear map of channels, without offset
    because gradients are directions; else P = 1. Maps of different size are averaged down to the smaller; beside a
    vector, a map's gradient is summed over positions: that of a shift of the whole channel. The weight is ours.
    """

    name = "grad_align"
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    def check(self, pair):
        """Refuse features that are neither maps nor vectors."""
        if not {len(shape) for shape in self.shapes(pair)} <= {1, 3}:
            self.refuse_shapes(pair, "it takes feature maps (C, H, W) and vectors (D,)")

    def build(self, pair):
        """The map from the student's channels to the teacher's, where they differ in number."""
        from torch import nn

        super().build(pair)
        student, teacher = self.shapes(pair)
        return nn.Linear(student[0], teacher[0], bias=False) if student[0] != teacher[0] else None

    def said(self, batch, teacher):
        """The teacher's logits and the gradient of its loss."""
        return Said(teacher.logits.detach(), _burden(batch, teacher, self.teacher_layer))

    def terms(self, batch, student, said):
        """The squared distance of the gradients at unit length."""
        one, other = _burden(batch, student, self.student_layer, learnt=True), said.gradient
        if one.ndim == other.ndim == 4:
            one, other = same_size(one, other)
        else:
            one, other = (each.flatten(2).sum(2) if each.ndim == 4 else each for each in (one, other))
        if self.module is not None:
            one = self.module(one.movedim(1, -1)).movedim(-1, 1)
        return {"alignment": self.weight * angle(one, other)}


def _burden(batch, outputs, layer, *, learnt=False):
    """The gradient of each item's cross-entropy at the feature, of its shape."""
    from torch.nn.functional import cross_entropy

    return slope(cross_entropy(outputs.logits, batch.labels, reduction="none"), outputs.features[layer], learnt=learnt)
