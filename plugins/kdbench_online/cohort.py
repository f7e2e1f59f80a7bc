"""Students that learn together, without a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import kdbench

if TYPE_CHECKING:
    from torch import Tensor

Peers = Annotated[tuple[str, ...], kdbench.Meta(min_length=1)]
OF_THE_PAIR = ("student", "teacher")


class Cohort(kdbench.Method):
    """The student and its peers, all from scratch, each trained on labels and on what a subclass's `targets` teach it.

    `peers` names their architectures: "student" and "teacher" for those of the pair, or any registered student. They
    see the student's view, are trained by the student's optimiser in the same step, and are dropped at the end: only
    the student is scored.
    """

    peers: Peers = ("student",)

    @property
    def uses_models(self):
        """The peers that are registered students."""
        return tuple(name for name in self.peers if name not in OF_THE_PAIR)

    def build(self, pair):
        """The peers, each with initial weights of its own."""
        from torch import nn

        return nn.ModuleList(pair.new_model(name, "peer", number).module for number, name in enumerate(self.peers))

    def loss(self, batch, student, teacher):
        """The student's and, summed, the peers' cross-entropies and divergences."""
        import torch
        from torch.nn.functional import cross_entropy

        logits = torch.stack([student.logits, *(peer(batch.inputs) for peer in self.module)])
        labels = batch.labels.expand(logits.shape[:2])
        ce = cross_entropy(logits.movedim(2, 1), labels, reduction="none").mean(1)
        kl = self.divergences(logits, batch.labels)
        return {"ce": ce[0], "kl": kl[0], "peers_ce": ce[1:].sum(), "peers_kl": kl[1:].sum()}

    def divergences(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What each model is taught by the cohort: weighted, shape (models,), of logits (models, N, classes)."""
        raise NotImplementedError(f"{type(self).__name__} defines no divergences()")


class MutualLearning(Cohort):
    """Deep mutual learning (Zhang et al., 2018, eq. 4-7): each model minimises CE + weight · mean_j KL(p_j ‖ p_i).

    j runs over the other models, whose answers are taken as given. The paper updates one model after the other within a
    mini-batch; here all are updated at once, from the same answers.

    `peers` names the others: "student" and "teacher" for architectures of the pair, or any registered student.

    Default: one peer of the student's own architecture, weight 1, temperature 1, as in the paper.
    """

    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    def divergences(self, logits, labels):
        """The mean divergence from the other models."""
        models = len(logits)
        shape = (models, *logits.shape)
        pairs = kdbench.kernels.kd_kl(  # a model from itself is 0, and so is its gradient
            logits[:, None].expand(shape), logits.detach()[None].expand(shape), reduction="none"
        )
        return self.weight * pairs.mean(2).sum(1) / (models - 1)


class CollaborativeLearning(Cohort):
    """KDCL (Guo et al., 2020, sec. 3): each model minimises CE + weight · T² · KL(p_e^T ‖ p_i^T).

    The logits e of an ensemble are made for every item from those of the models, taken as given: `naive` takes the
    model of the smallest cross-entropy; `minlogit` takes of each class the smallest difference to the label's logit.
    The paper's other two (linear, general) solve for weights of the models; they are not here. All models see the same
    augmented items, where the paper distorts them for each model anew.

    `peers` names the others: "student" and "teacher" for architectures of the pair, or any registered student.

    Defaults: one peer, T 2 and weight 1 are kdbench's choice.
    """

    ensemble: Literal["naive", "minlogit"] = "naive"
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 2.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    def divergences(self, logits, labels):
        """The divergence from the ensemble."""
        given = logits.detach()
        ensemble = _naive(given, labels) if self.ensemble == "naive" else _minlogit(given, labels)
        rows = kdbench.kernels.kd_kl(logits, ensemble.expand(logits.shape), self.temperature, reduction="none")
        return self.weight * rows.mean(1)


def _naive(logits: Tensor, labels: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    errors = cross_entropy(logits.movedim(2, 1), labels.expand(logits.shape[:2]), reduction="none")
    best = errors.argmin(0)
    return logits.gather(0, best[None, :, None].expand(1, *logits.shape[1:]))[0]


def _minlogit(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(2, labels.expand(logits.shape[:2])[..., None])
    return (logits - own).amin(0)
