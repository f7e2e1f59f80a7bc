"""Soft targets, as several methods of this plugin use them."""

from typing import Annotated

import kdbench


class Soft(kdbench.Method):
    """(1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T) (Hinton et al., 2015, sec. 2); temperature and α as in kd."""

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft-target terms."""
        return self.soft(batch, student, teacher, self.temperature, self.alpha)

    def soft(self, batch, student, teacher, temperature, alpha):
        """The two terms at a temperature and weight."""
        fused = kdbench.kernels.kd_hinton(student.logits, teacher.logits, batch.labels, temperature, alpha)
        ce = (1 - alpha) * fused.ce
        return {"ce": ce, "kd": fused.loss - ce}  # the gradient of both comes with the loss
