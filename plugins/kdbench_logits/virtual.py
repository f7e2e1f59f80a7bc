"""A teacher that is made by hand."""

import math
from typing import Annotated

import kdbench


class VirtualTeacher(kdbench.Method):
    """Teacher-free distillation, Tf-KD_reg (Yuan et al., 2020, eq. 9): (1−α)·CE + α·T²·KL(u^T ‖ p_s^T).

    The virtual teacher u gives the label the probability `accuracy` and shares the rest among the other classes; u^T is
    u at the temperature, u^(1/T) normalised. T² is kdbench's, as in kd: the paper's equation has no such factor.
    """

    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(2, 40, log=True)] = 20.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.1
    accuracy: Annotated[float, kdbench.Meta(gt=0, lt=1), kdbench.Search(0.8, 0.999)] = 0.99

    def loss(self, batch, student, teacher):
        """Cross-entropy and virtual soft-target terms."""
        classes = student.logits.shape[1]
        virtual = student.logits.detach().new_full(student.logits.shape, math.log((1 - self.accuracy) / (classes - 1)))
        virtual.scatter_(1, batch.labels[:, None], math.log(self.accuracy))
        kd = kdbench.kernels.kd_kl(student.logits, virtual, self.temperature)
        return {"ce": (1 - self.alpha) * batch.cross_entropy(student.logits), "kd": self.alpha * kd}
