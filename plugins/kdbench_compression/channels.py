"""Structured pruning: whole channels are taken out, and the network is really smaller."""

from typing import Annotated

import kdbench
from kdbench_compression.teacher import FineTuned, example


class PruneStructured(FineTuned):
    """Channels of smallest L1 norm taken out of the teacher once, then fine-tuning (Li et al., 2017, sec. 3).

    Each layer loses `ratio` of its channels; which channels belong together (residual connections, batch norm, what
    reads them) is found by torch-pruning (Fang et al., 2023). The norm is of the filters that make a channel, summed
    where several layers do. The classes stay.

    It is trained on by (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), t the original teacher, at `lr_factor` of the recipe's rate.

    Defaults: α 0 is labels alone; lr_factor .1 as Han et al. (2015) for LeNet; the ratio is kdbench's choice: half of
    the channels is about a quarter of the parameters.
    """

    name = "prune_structured"
    ratio: Annotated[float, kdbench.Meta(gt=0, lt=1), kdbench.Search(fixed=True)] = 0.5

    def compressed(self, pair):
        """The teacher with fewer channels."""
        model, narrow = self.narrowing(pair)
        before = sum(parameter.numel() for parameter in model.parameters())
        for _ in range(self.steps):
            narrow()
        if sum(parameter.numel() for parameter in model.parameters()) == before:
            raise self.refusal(f"it has no channels that can be taken out at ratio={self.ratio:g}")
        return model

    def narrowing(self, pair):
        """A copy of the teacher, and what takes its channels out in `steps` calls."""
        from kdbench_compression.filters import narrowing

        model = self.copied(pair)
        return model, narrowing(model, example(pair), self.ratio, pair.dataset.num_classes, self.steps)

    @property
    def steps(self):
        """In how many calls the channels are taken out."""
        return 1
