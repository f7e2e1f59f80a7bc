"""Compression and distillation together."""

from typing import Annotated, Literal

import kdbench
from kdbench_compression.integers import Calibration, check_quantisable
from kdbench_compression.magnitude import PruneMagnitude
from kdbench_compression.teacher import soft_targets


class PruneThenDistil(PruneMagnitude):
    """prune_magnitude with soft targets of the unpruned teacher t (Hinton et al., 2015, sec. 2) in the fine-tuning.

    That is (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), p^T by their eq. 1, at `lr_factor` of the recipe's rate, while weights
    are pruned as prune_magnitude prunes them. The other methods that fine-tune take the same `alpha`.

    Defaults: T and α as in kd, the others as in prune_magnitude.
    """

    name = "prune_then_distil"
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9


class DistilThenQuantise(kdbench.Method):
    """The student distilled as kd does (Hinton et al., 2015, sec. 2), then made int8 (Jacob et al., 2018, eq. 1).

    It is trained by (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T). `scheme` is that of quant_static, with ranges of the activations
    from `calibration` training items, or that of quant_dynamic.

    Defaults: T and α as in kd; scheme and calibration are kdbench's choice.
    """

    name = "distil_then_quantise"
    parallel_fit = True  # the distillation is shared; the first process quantises
    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    scheme: Annotated[Literal["static", "dynamic"], kdbench.Search(fixed=True)] = "static"
    calibration: Annotated[Calibration, kdbench.Search(fixed=True, when=("scheme", "static"))] = 512

    def check(self, pair):
        """Refuse students that cannot be quantised, machines without integer kernels, and mixed precision."""
        check_quantisable(self, pair, pair.student.module, self.scheme)

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft targets."""
        return soft_targets(batch, student, teacher, self.temperature, self.alpha)

    def finish(self, trainer):
        """The distilled student in int8."""
        from kdbench_compression import quantised

        if self.scheme == "dynamic":
            return quantised.dynamic(trainer.student)
        return quantised.calibrated(trainer, self.calibration)
