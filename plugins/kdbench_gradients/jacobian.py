"""Jacobian matching: what in the input speaks for a class."""

from typing import Annotated

import kdbench
from kdbench_gradients.frame import Of, OncePerItem, Said, angle, chosen_logit, slope


class JacobianMatching(OncePerItem):
    """Jacobian matching (Srinivas & Fleuret, 2018, sec. 4).

    kd + weight · mean over items of ‖J_s/‖J_s‖ − J_t/‖J_t‖‖², J = ∂z_c/∂x at the shared input. One row of the Jacobian
    stands for it, as in the paper: c is the label, or with of="teacher" the class of the teacher's largest logit. The
    weight is ours. A student with batch norm is differentiated in training mode, where the items of a batch touch each
    other's gradients through its statistics.
    """

    name = "jacobian"
    needs = kdbench.needs(logits=True, input_grad=True)
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    of: Of = "label"

    def check(self, pair):
        """Refuse models that see different views."""
        self.check_shared_view(pair)

    def said(self, batch, teacher):
        """The teacher's logits and its input gradient."""
        logits = teacher.logits.detach()
        return Said(logits, slope(chosen_logit(self.of, batch, teacher.logits, logits), teacher.inputs))

    def terms(self, batch, student, said):
        """The squared distance of the input gradients at unit length."""
        ours = slope(chosen_logit(self.of, batch, student.logits, said.logits), student.inputs, learnt=True)
        return {"jacobian": self.weight * angle(ours, said.gradient)}
