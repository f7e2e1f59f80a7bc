"""Logits brought to one spread before they are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import kdbench

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-7


class LogitStandardization(kdbench.Method):
    """Logit standardisation (Sun et al., 2024, eq. 9): ce·CE + weight·T²·KL on z-scores of each item's logits.

    z = (logits − mean) / (deviation + 1e-7) over the classes, for teacher and student, then the base temperature T.
    `base="dkd"` puts decoupled distillation (Zhao et al., 2022, eq. 7) with α and β on the z-scores instead.

    Defaults: T 2, weight 9, CE 0.1, as public CIFAR configurations have them for kd.
    """

    needs = kdbench.needs(logits=True)
    tasks = ("multiclass",)
    base: Annotated[Literal["kd", "dkd"], kdbench.Search(fixed=True)] = "kd"
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 8, log=True)] = 2.0
    weight: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.5, 30, log=True)] = 9.0
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 0.1
    alpha: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.25, 4, log=True, when=("base", "dkd"))] = 1.0
    beta: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(0.5, 16, log=True, when=("base", "dkd"))] = 8.0

    def check(self, pair):
        """Refuse two classes, whose z-scores are −1 and 1 whatever the logits."""
        _refuse_two_classes("lskd", pair)

    def loss(self, batch, student, teacher):
        """Cross-entropy and the base's term."""
        if self.base == "kd":
            kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature, standardize=True)
        else:
            ours, theirs = z_scores(student.logits), z_scores(teacher.logits)
            kd = kdbench.kernels.kd_dkd(ours, theirs, batch.labels, self.temperature, self.alpha, self.beta).loss
        return {"ce": self.ce * batch.cross_entropy(student.logits), self.base: self.weight * kd}


class NormalizedLogits(kdbench.Method):
    """NormKD (Chi et al., 2023, sec. 3): ce·CE + weight · mean of T_t² · KL(softmax(z_t / T_t) ‖ softmax(z_s / T_s)).

    Each item has temperatures of its own, T_t = T_norm · deviation(z_t) and T_s = T_norm · deviation(z_s), over the
    classes; the student's is differentiated too. 1e-7 is added to both deviations, for constant logits.
    """

    needs = kdbench.needs(logits=True)
    tasks = ("multiclass",)
    norm_temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(0.5, 8, log=True)] = 2.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 0.9
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 0.1

    def check(self, pair):
        """Refuse two classes, whose normalised logits are −1 and 1 whatever the logits."""
        _refuse_two_classes("normkd", pair)

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft-target terms."""
        # A softmax does not see the mean that z-scores take off: dividing by the deviation is standardising.
        squares = (self.norm_temperature * (teacher.logits.std(1, correction=0) + EPSILON)).square()
        kd = kdbench.kernels.kd_kl(
            student.logits, teacher.logits, self.norm_temperature, scale=False, standardize=True, row_weight=squares
        )
        return {"ce": self.ce * batch.cross_entropy(student.logits), "kd": self.weight * kd}


def z_scores(logits: Tensor) -> Tensor:
    """Rows less their mean, over their population deviation + 1e-7; a constant row becomes 0."""
    import torch

    deviation, mean = torch.std_mean(logits, 1, correction=0, keepdim=True)
    return (logits - mean) / (deviation + EPSILON)


def _refuse_two_classes(name: str, pair: kdbench.Pair) -> None:
    if pair.dataset.num_classes < 3:
        raise kdbench.MethodRefused(
            f"method {name!r} cannot serve dataset {pair.dataset.name!r}",
            f"logits of shape (N, {pair.dataset.num_classes}): with two classes every item's standardised logits are"
            " −1 and 1, and the term has no gradient",
            "use kd or dkd, or a dataset of three or more classes",
        )
