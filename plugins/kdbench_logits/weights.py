"""Soft targets whose weight is free, or depends on the item."""

from typing import Annotated

import kdbench


class TunedSoftTargets(kdbench.Method):
    """Soft targets (Hinton et al., 2015, sec. 2) with independent weights: ce·CE + weight·T²·KL(p_t^T ‖ p_s^T).

    p^T is by their eq. 1. A larger weight explains part of the gain that methods with large weights report over kd; up
    to 9 is in use. The term's gradient is weight·T times that of a cross-entropy: large ones want a recipe with
    `clip_norm`.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 3.0
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 1.0

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft-target terms."""
        kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature)
        return {"ce": self.ce * batch.cross_entropy(student.logits), "kd": self.weight * kd}


class WeightedSoftLabels(kdbench.Method):
    """Zhou et al. (2021, sec. "Weighted soft labels"): CE + weight · mean over items of ω · T² · KL(p_t^T ‖ p_s^T).

    ω = 1 − exp(−CE_s / CE_t) with both cross-entropies at temperature 1, taken as a constant: an item that the student
    knows better than the teacher gets little of the soft label. The paper writes the cross-entropy between the two
    where KL stands here: they differ by the teacher's entropy, whose gradient is 0.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 2.25

    def loss(self, batch, student, teacher):
        """Cross-entropy and weighted soft-label terms."""
        import torch
        from torch.nn.functional import cross_entropy

        with torch.no_grad():
            ours = cross_entropy(student.logits, batch.labels, reduction="none")
            theirs = cross_entropy(teacher.logits, batch.labels, reduction="none")
            # Where teacher and student are both sure of the label, 0 / 0 stands for 0.
            share = -torch.expm1(-ours.clamp(min=0) / theirs.clamp(min=torch.finfo(theirs.dtype).tiny))
        kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature, row_weight=share)
        return {"ce": batch.cross_entropy(student.logits), "kd": self.weight * kd}


class TransformedTeacher(kdbench.Method):
    """Transformed teacher matching (Zheng & Yang, 2024, eq. 2): CE + weight · mean of ω · KL(p_t^T ‖ p_s).

    Only the teacher is softened; its p_t^T is the power transform p_t^(1/T), normalised. TTM has ω = 1; `weighted`
    gives WTTM (sec. 4), where ω = Σ_k p_t(k)^(1/T) is larger the smoother the teacher's answer is.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    weighted: bool = False

    def loss(self, batch, student, teacher):
        """Cross-entropy and matching terms."""
        from torch.nn.functional import log_softmax

        softened = log_softmax(teacher.logits / self.temperature, 1)
        share = (log_softmax(teacher.logits, 1) / self.temperature).exp().sum(1) if self.weighted else None
        match = kdbench.kernels.kd_kl(student.logits, softened, teacher_is="log_probs", row_weight=share)
        return {"ce": batch.cross_entropy(student.logits), "match": self.weight * match}
