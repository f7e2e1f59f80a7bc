"""The label and the other classes, each with a weight of its own."""

from typing import Annotated

import kdbench


class DecoupledKD(kdbench.Method):
    """Decoupled distillation (Zhao et al., 2022, eq. 7): ce·CE + w · T² · (α·TCKD + β·NCKD).

    TCKD is KL of label against all others, NCKD that of the distributions over the others alone. The factor w rises
    linearly to 1 over the first `warmup` epochs. With two classes NCKD is 0.

    Defaults (α 1, β 8, T 4, 20 epochs of warm-up) are those of public CIFAR configurations; β is 2 or 6 for some pairs.
    The gradient is β·T times that of a cross-entropy: without batch norm it wants a recipe with `clip_norm`.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.25, 4, log=True)] = 1.0
    beta: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.5, 16, log=True)] = 8.0
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 1.0
    warmup: Annotated[int, kdbench.Meta(ge=0), kdbench.Search(1, 40, log=True)] = 20

    def loss(self, batch, student, teacher):
        """Cross-entropy and decoupled terms."""
        kd = kdbench.kernels.kd_dkd(
            student.logits, teacher.logits, batch.labels, self.temperature, self.alpha, self.beta
        ).loss
        rise = min(1.0, (batch.epoch + 1) / self.warmup) if self.warmup else 1.0
        return {"ce": self.ce * batch.cross_entropy(student.logits), "dkd": rise * kd}


class NormalizedKD(kdbench.Method):
    """Normalised distillation (Yang et al., 2023, sec. 3): CE − T_y log S_y − γ · λ² · Σ_{i≠y} N(T_i^λ) log N(S_i^λ).

    T and S are the teacher's and the student's probabilities, y the label, λ the temperature of the other classes,
    and N makes their probabilities sum to 1. The last term is taken as a KL divergence, which differs by the teacher's
    entropy, whose gradient is 0; it is 0 with two classes.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(0.5, 8, log=True)] = 1.0
    gamma: Annotated[float, kdbench.Meta(ge=0)] = 1.5
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 1.0

    def loss(self, batch, student, teacher):
        """Cross-entropy, the label's and the other classes' terms."""
        from torch.nn.functional import cross_entropy

        ours, theirs = (cross_entropy(model.logits, batch.labels, reduction="none") for model in (student, teacher))
        others = kdbench.kernels.kd_dkd(
            student.logits, teacher.logits, batch.labels, self.temperature, alpha=0.0, beta=self.gamma
        ).loss
        return {"ce": self.ce * ours.mean(), "target": (theirs.neg().exp() * ours).mean(), "others": others}
