"""Distillation in steps into ever narrower networks, from the whole one down."""

from typing import Annotated

import msgspec

import kdbench
from kdbench_compression.channels import PruneStructured


class ShrinkDistil(PruneStructured):
    """prune_structured in `sizes` steps, each size trained with soft targets of the whole teacher t.

    After progressive shrinking (Cai et al., 2020, Once-for-All, sec. 3.3): from the largest network to the smallest,
    each begins with the channels of largest L1 norm of the one before and learns from the largest. Theirs is one net
    whose weights serve every size in the end, narrower, shallower and of smaller kernels; here the smallest alone is
    kept and scored, and the width alone shrinks.

    Size n of `sizes` has lost n/sizes of the channels that the last one has, `ratio` of each layer's. Each is trained
    by (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), at `lr_factor` of the recipe's rate: the last for the recipe's epochs, those
    before it for 1/sizes of them each, by a schedule of their own, on top of the student's.

    Defaults: T and α as in kd, the others as in prune_structured; three sizes are kdbench's choice.
    """

    name = "shrink_distil"
    parallel_fit = False  # what is cut was found in the network's modules, which several processes on GPUs replace
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    sizes: Annotated[int, kdbench.Meta(ge=2)] = 3

    @property
    def steps(self):
        """A step to every size."""
        return self.sizes

    def begin(self, trainer):
        """The sizes but the last trained, one after the other; the last, as it is cut out of them."""
        pair, recipe = trainer.pair, trainer.recipe
        shorter = msgspec.structs.replace(recipe, epochs=max(1, round(recipe.epochs / self.sizes)))
        model, narrow = self.narrowing(pair)
        for number in range(1, self.sizes):
            narrow()
            size = kdbench.ModelInfo(f"{pair.teacher.name}, size {number}", model)
            model = trainer.train_model(size, "size", number, method=type(self)(**self.params), recipe=shorter)
        narrow()
        return model
