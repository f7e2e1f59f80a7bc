"""Learning without memorizing: attention maps made from gradients."""

from typing import Annotated, Literal

import kdbench
from kdbench_features.geometry import flat, same_size, unit
from kdbench_gradients.frame import AtFeature, Of, Said, chosen_logit, slope


class AttentionFromGradients(AtFeature):
    """The attention distillation of learning without memorizing (Dhar et al., 2019).

    kd + weight · mean over items of ‖Q_s/‖Q_s‖₂ − Q_t/‖Q_t‖₂‖₁. Q is the class-activation map of Grad-CAM (Selvaraju et
    al., 2017, eq. 1-2), flat: ReLU(Σ_k a_k A_k), A_k the k-th channel of the feature and a_k the mean over positions of
    ∂z_c/∂A_k. c is the class that the teacher finds most probable, or the label. norm="l2" takes squares in place of
    absolute values. Maps of different size are averaged down to the smaller. The paper's setting is a model that learns
    more classes from its former self; here teacher and student have the same classes. The weight is ours.
    """

    name = "lwm"
    student_layer: str = "last"
    teacher_layer: str = "last"
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    norm: Literal["l1", "l2"] = "l1"
    of: Of = "teacher"

    def check(self, pair):
        """Refuse features that are not maps."""
        if {len(shape) for shape in self.shapes(pair)} != {3}:
            self.refuse_shapes(pair, "it needs feature maps (C, H, W) of both models")

    def said(self, batch, teacher):
        """The teacher's logits and its attention maps."""
        logits = teacher.logits.detach()
        chosen = chosen_logit(self.of, batch, teacher.logits, logits)
        return Said(logits, _attention(chosen, teacher.features[self.teacher_layer]).detach())

    def terms(self, batch, student, said):
        """The distance of the attention maps at unit length."""
        chosen = chosen_logit(self.of, batch, student.logits, said.logits)
        ours = _attention(chosen, student.features[self.student_layer], learnt=True)
        one, other = (unit(flat(maps)) for maps in same_size(ours, said.gradient))
        gap = (one - other).abs() if self.norm == "l1" else (one - other).square()
        return {"attention": self.weight * gap.sum(1).mean()}


def _attention(logit, maps, *, learnt=False):
    """ReLU(Σ_k a_k A_k), shape (N, 1, H, W)."""
    share = slope(logit, maps, learnt=learnt).mean((2, 3), keepdim=True)
    return (share * maps).sum(1, keepdim=True).relu()
