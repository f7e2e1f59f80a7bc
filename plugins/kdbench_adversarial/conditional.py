"""A learnt loss on the logits: a discriminator that also names the class."""

from typing import Annotated

import kdbench


class ConditionalAdversarial(kdbench.Method):
    """Distillation with conditional adversarial networks (Xu et al., 2018, sec. 3).

    A discriminator D of logits says whether they are the teacher's and, in an auxiliary head, which class the item has.
    It minimises −log D(t) − log(1 − D(s)) and the cross-entropy of its class for both; the student minimises
    CE + l1·mean|s − t| + adversarial·(−log D(s) + the auxiliary cross-entropy of s), where t are the teacher's logits
    and s its own.

    D is an MLP whose `weight_decay` stands for the paper's regularisation of it. That the student maximises log D(s)
    instead of minimising log(1 − D(s)), all weights, D's size and its Adam are ours.
    """

    needs = kdbench.needs(logits=True)
    l1: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    adversarial: Annotated[float, kdbench.Meta(ge=0)] = 0.1
    width: Annotated[int, kdbench.Meta(ge=1)] = 128
    lr: Annotated[float, kdbench.Meta(gt=0)] = 2e-4
    weight_decay: Annotated[float, kdbench.Meta(ge=0)] = 1e-3

    def build(self, pair):
        """The discriminator."""
        from kdbench_adversarial.players import LogitDiscriminator

        return LogitDiscriminator(pair.dataset.num_classes, self.width)

    def optimizers(self, pair):
        """The discriminator's own."""
        from kdbench_adversarial.players import optimizer

        return optimizer(self.module, self.lr, self.weight_decay)

    def step(self, trainer, batch):
        """One step of the discriminator, then one of the student."""
        from kdbench_adversarial.players import frozen, improve

        target, ours = trainer.teacher_outputs(batch).logits, trainer.student_outputs(batch).logits
        discriminator = improve(trainer, self.discrimination(batch, ours.detach(), target))
        with frozen(self.module):
            logged = trainer.optimize(self.imitation(batch, ours, target))
        return {**logged, "discriminator": discriminator}

    def discrimination(self, batch, ours, target):
        """The discriminator's loss, a scalar."""
        import torch
        from torch.nn.functional import cross_entropy, logsigmoid

        real, label = self.module(torch.cat([target, ours]))
        theirs, mine = real.chunk(2)
        labels = torch.cat([batch.labels, batch.labels])
        return -logsigmoid(theirs).mean() - logsigmoid(-mine).mean() + 2 * cross_entropy(label, labels)

    def imitation(self, batch, ours, target):
        """The student's terms."""
        from torch.nn.functional import cross_entropy, logsigmoid

        real, label = self.module(ours)
        return {
            "ce": batch.cross_entropy(ours),
            "l1": self.l1 * (ours - target).abs().mean(),
            "adversarial": -self.adversarial * logsigmoid(real).mean(),
            "class": self.adversarial * cross_entropy(label, batch.labels),
        }
