"""Unstructured pruning: the smallest weights of the whole network are set to zero."""

from typing import Annotated

import kdbench
from kdbench_compression.teacher import FineTuned


class PruneMagnitude(FineTuned):
    """Global magnitude pruning of the teacher (Han et al., 2015, sec. 3), gradually as Zhu & Gupta (2017) do.

    The weights of convolutions and linear layers that are smallest in magnitude over the whole network are 0 from then
    on. In the first `ramp` of the training there are `prunings` of them, after the k-th of which the share of zeros is
    sparsity · (1 − (1 − k/prunings)³) (their eq. 1, from 0); one pruning is one-shot. The checkpoint is chosen among
    epochs of the full sparsity. Zeros are stored and multiplied like any number: it is `nonzero_parameters` that falls.

    It is trained on by (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), t the original teacher, at `lr_factor` of the recipe's rate.

    Defaults: α 0 is labels alone; lr_factor .1 as Han et al. for LeNet; the others are kdbench's choice.
    """

    name = "prune_magnitude"
    sparsity: Annotated[float, kdbench.Meta(gt=0, lt=1), kdbench.Search(fixed=True)] = 0.8
    prunings: Annotated[int, kdbench.Meta(ge=1)] = 10
    ramp: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.5

    def check(self, pair):
        """Refuse a network without weights to prune, and a recipe that averages weights over time."""
        from kdbench_compression.masks import prunable

        self.refuse_average(pair)
        super().check(pair)
        if not prunable(pair.teacher.module):
            raise self.refusal("it has no convolution and no linear layer")

    def share(self, pruning):
        """The share of zeros after the given pruning, counted from 1."""
        return self.sparsity * (1 - (1 - pruning / self.prunings) ** 3)

    def fit(self, trainer):
        """Prune while training; a training too short for all prunings ends with the last one."""
        self._masks, self._done = None, 0
        super().fit(trainer)
        if not self.may_choose(trainer):
            self._prune(trainer, self.prunings)

    def step(self, trainer, batch):
        """One step, after the pruning that is due."""
        due = min(self.prunings, 1 + int(batch.progress / self.ramp * self.prunings))
        if due > self._done:
            self._prune(trainer, due)
        return super().step(trainer, batch)

    def may_choose(self, trainer):
        """Whether every pruning is done."""
        return self._done == self.prunings

    def _prune(self, trainer, pruning):
        from kdbench_compression.masks import Masks

        if self._masks is None:
            self._masks = Masks(trainer.student)
        self._masks.prune(self.share(pruning), trainer.optimizer)
        self._done = pruning
