"""Methods that read the teacher's logits."""

from typing import Annotated

import kdbench


class SoftTargets(kdbench.Method):
    """Soft targets (Hinton et al., 2015, sec. 2, p^T by eq. 1): (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), batch mean."""

    tasks = ("binary", "multiclass", "span-qa")
    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft-target terms."""
        fused = kdbench.kernels.kd_hinton(student.logits, teacher.logits, batch.labels, self.temperature, self.alpha)
        ce = (1 - self.alpha) * fused.ce
        return {"ce": ce, "kd": fused.loss - ce}  # the gradient of both comes with the loss


class LogitRegression(kdbench.Method):
    """Logit matching (Ba & Caruana, 2014, eq. 1): CE + weight · mean over the batch of ½‖z_s − z_t‖² / classes.

    The paper regresses on logits alone; `ce` restores that at 0. Of a retrieval task the logits are embeddings of one
    size, and the objective that of Reimers & Gurevych (2020) up to its factor.
    """

    tasks = kdbench.ITEM_TASKS
    needs = kdbench.needs(logits=True)
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 1.0

    def loss(self, batch, student, teacher):
        """Cross-entropy and half the mean squared difference of the logits."""
        mse = (student.logits - teacher.logits).square().mean()
        return {"ce": self.ce * batch.cross_entropy(student.logits), "mse": self.weight * 0.5 * mse}
