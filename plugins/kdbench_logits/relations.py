"""Relations between classes and between items, rather than probabilities one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import kdbench

if TYPE_CHECKING:
    from torch import Tensor


class Dist(kdbench.Method):
    """DIST (Huang et al., 2022, sec. 3, eq. 8-10): ce·CE + β·L_inter + γ·L_intra on probabilities at temperature τ.

    L_inter is τ² times the mean over items of 1 − Pearson's correlation over classes; L_intra is τ² times the mean over
    classes of that over the batch's items. A constant row or column has no correlation: it counts as 0, without
    gradient; so does every column of a batch of one.

    Defaults: β = γ = 2, τ = 4, as public CIFAR configurations have them. With two classes L_inter has no gradient.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1, 16, log=True)] = 4.0
    beta: Annotated[float, kdbench.Meta(ge=0)] = 2.0
    gamma: Annotated[float, kdbench.Meta(ge=0)] = 2.0
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 1.0

    def loss(self, batch, student, teacher):
        """Cross-entropy, inter-class and intra-class terms."""
        ours, theirs = ((model.logits / self.temperature).softmax(1) for model in (student, teacher))
        scale = self.temperature**2
        return {
            "ce": self.ce * batch.cross_entropy(student.logits),
            "inter": self.beta * scale * pearson_distance(ours, theirs, 1).mean(),
            "intra": self.gamma * scale * pearson_distance(ours, theirs, 0).mean(),
        }


class MultiLevel(kdbench.Method):
    """Multi-level logit distillation (Jin et al., 2023, sec. 3): CE + Σ_T [kd·L_ins + batch·L_batch + class·L_class].

    At each temperature T, with p the probabilities of a batch (items × classes): L_ins = T² · KL(p_t ‖ p_s), mean over
    items; L_batch = ‖p_t p_tᵀ − p_s p_sᵀ‖²_F / items; L_class = ‖p_tᵀ p_t − p_sᵀ p_s‖²_F / classes. The authors' strong
    augmentation is the recipe's affair.

    Default temperatures: 2 to 6, as in public CIFAR configurations. L_class grows with the square of the items of a
    class in a batch: with few classes it takes over, and wants a recipe with `clip_norm` or a smaller `class_weight`.
    """

    needs = kdbench.needs(logits=True)
    temperatures: Annotated[tuple[Annotated[float, kdbench.Meta(gt=0)], ...], kdbench.Meta(min_length=1)] = (
        2.0,
        3.0,
        4.0,
        5.0,
        6.0,
    )
    kd_weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    batch_weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    class_weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    ce: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(fixed=True)] = 1.0

    def loss(self, batch, student, teacher):
        """Cross-entropy, instance, batch and class terms; all temperatures at once."""
        levels = student.logits.new_tensor(self.temperatures)
        shape = (len(levels), *student.logits.shape)
        ours, theirs = student.logits.expand(shape), teacher.logits.expand(shape)
        kd = kdbench.kernels.kd_kl(ours, theirs, levels[:, None].expand(shape[:2]))  # a mean over the temperatures too
        p, q = ((logits / levels[:, None, None]).softmax(2) for logits in (theirs, ours))
        items, classes = p @ p.mT - q @ q.mT, p.mT @ p - q.mT @ q
        return {
            "ce": self.ce * batch.cross_entropy(student.logits),
            "instance": self.kd_weight * len(levels) * kd,
            "batch": self.batch_weight * items.square().sum() / shape[1],
            "class": self.class_weight * classes.square().sum() / shape[2],
        }


def pearson_distance(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """1 − Pearson's correlation of x and y along `dim`; 0, without gradient, where either is constant to rounding."""
    import torch

    (x, x_varies), (y, y_varies) = _centred(x, dim), _centred(y, dim)
    return torch.where(x_varies & y_varies, 1 - (x * y).sum(dim), 0.0)


def _centred(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Deviations from the mean over their norm, and whether they are more than rounding."""
    import torch

    deviation = x - x.mean(dim, keepdim=True)
    norm = torch.linalg.vector_norm(deviation, dim=dim, keepdim=True)
    rounding = 8 * torch.finfo(x.dtype).eps * torch.linalg.vector_norm(x.detach(), dim=dim, keepdim=True)
    varies = norm > rounding
    unit = deviation / torch.where(varies, norm, 1.0)
    return unit, varies.squeeze(dim)
