"""Soft targets of labels that do not exclude each other."""

from typing import Annotated

import kdbench


class IndependentLabels(kdbench.Method):
    """Soft targets of each label by itself: (1−α)·BCE + α·T²·KL(Bernoulli(σ(z_t/T)) ‖ Bernoulli(σ(z_s/T))).

    Hinton et al. (2015, sec. 2, p^T by eq. 1) with the two classes "has it" and "has it not" of each label; the mean
    over items and labels, as BCE is. The default weights are those of `kd`, our choice here.
    """

    tasks = ("multilabel",)
    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9

    def loss(self, batch, student, teacher):
        """Binary cross-entropy and soft-target terms."""
        kd = kdbench.kernels.kd_kl(_two_classes(student.logits), _two_classes(teacher.logits), self.temperature)
        return {"ce": (1 - self.alpha) * batch.cross_entropy(student.logits), "kd": self.alpha * kd}


def _two_classes(logits):
    """(N, C) -> (N·C, 2): softmax of (0, z) is (1 − σ(z), σ(z))."""
    import torch

    return torch.stack((torch.zeros_like(logits), logits), dim=-1).flatten(0, 1)
