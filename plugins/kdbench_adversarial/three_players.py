"""KDGAN: student, teacher and a discriminator of labels."""

from typing import Annotated

import kdbench


class ThreePlayers(kdbench.Method):
    """KDGAN (Wang et al., 2018, sec. 3): classifier C (the student), teacher T and discriminator D play one game.

    D scores pairs of item and label. It maximises, and C and T minimise,
    V = E_y log D(x, y) + α·E_{y~C} log(1 − D(x, y)) + (1−α)·E_{y~T} log(1 − D(x, y)), to which C adds
    β·T²·KL(p_t^T ‖ p_c^T) and T adds γ·T²·KL(p_c^T ‖ p_t^T).

    Implemented of the paper: the three players, V with its split α, both distillation losses (softened KL, the other
    side taken as a constant), and the concrete distribution (Gumbel-softmax at `concrete`) in place of sampled labels,
    by which gradients of D reach C and T. Not implemented: separate pre-training of C and D (T comes trained), and the
    policy-gradient variant; T has privileged inputs only where the combo gives it a view of its own. Added: the
    cross-entropy of C and of T with the labels, at weight `ce`; 0 is the paper's V alone. T learns on the run's own
    copy, by the recipe's optimiser. All weights, D (an MLP of the student's inputs) and its Adam are ours.
    """

    needs = kdbench.needs(logits=True)
    trains_teacher = True
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.5
    beta: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    gamma: Annotated[float, kdbench.Meta(ge=0)] = 0.1
    ce: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    concrete: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    width: Annotated[int, kdbench.Meta(ge=1)] = 128
    lr: Annotated[float, kdbench.Meta(gt=0)] = 2e-4
    weight_decay: Annotated[float, kdbench.Meta(ge=0)] = 1e-3

    def build(self, pair):
        """The discriminator."""
        from kdbench_adversarial.players import LabelDiscriminator

        return LabelDiscriminator(pair.dataset.input_shape, pair.dataset.num_classes, self.width)

    def optimizers(self, pair):
        """The discriminator's own."""
        from kdbench_adversarial.players import optimizer

        return optimizer(self.module, self.lr, self.weight_decay)

    def step(self, trainer, batch):
        """One step of the discriminator, then one of classifier and teacher."""
        import torch

        from kdbench_adversarial.players import improve

        theirs, ours = trainer.teacher_outputs(batch).logits, trainer.student_outputs(batch).logits
        guesses = self.guesses(ours), self.guesses(theirs)
        loss = self.discrimination(self.module(batch.inputs), batch.labels, *(each.detach() for each in guesses))
        discriminator = improve(trainer, loss)
        with torch.no_grad():
            scores = self.module(batch.inputs)
        logged = trainer.optimize(self.imitation(batch, ours, theirs, scores, *guesses))
        return {**logged, "discriminator": discriminator}

    def guesses(self, logits):
        """A relaxed label of each item, drawn from the concrete distribution, (N, classes)."""
        from torch.nn.functional import gumbel_softmax

        return gumbel_softmax(logits, self.concrete)

    def discrimination(self, scores, labels, ours, theirs):
        """−V of the scores (N, classes) of the labels and of both players' guesses."""
        from torch.nn.functional import logsigmoid

        true = logsigmoid(scores.gather(1, labels[:, None])).mean()
        return -true - self.alpha * _unmasked(scores, ours) - (1 - self.alpha) * _unmasked(scores, theirs)

    def imitation(self, batch, ours, theirs, scores, our_guess, their_guess):
        """The terms of classifier and teacher."""
        kd_kl = kdbench.kernels.kd_kl
        return {
            "ce": self.ce * batch.cross_entropy(ours),
            "kd": self.beta * kd_kl(ours, theirs.detach(), self.temperature),
            "adversarial": self.alpha * _unmasked(scores, our_guess),
            "teacher_ce": self.ce * batch.cross_entropy(theirs),
            "teacher_kd": self.gamma * kd_kl(theirs, ours.detach(), self.temperature),
            "teacher_adversarial": (1 - self.alpha) * _unmasked(scores, their_guess),
        }


def _unmasked(scores, guess):
    """Mean of log(1 − D(x, y)) for relaxed labels y."""
    from torch.nn.functional import logsigmoid

    return logsigmoid(-(scores * guess).sum(1)).mean()
