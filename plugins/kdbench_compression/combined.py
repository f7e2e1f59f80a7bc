"""Compression and distillation together."""

from typing import Annotated, Literal

import kdbench
from kdbench_compression.integers import Calibration, check_quantisable, refuse_half
from kdbench_compression.magnitude import PruneMagnitude
from kdbench_compression.teacher import soft_targets


class PruneThenDistil(PruneMagnitude):
    """prune_magnitude with soft targets of the unpruned teacher (Hinton et al., 2015) in the fine-tuning.

    `alpha` as in kd. The other methods that fine-tune take the same `alpha`.
    """

    name = "prune_then_distil"
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9


class DistilThenQuantise(kdbench.Method):
    """The pair's student distilled as kd does (Hinton et al., 2015), and then quantised to int8 after training.

    `scheme` is that of quant_static, with its calibration, or that of quant_dynamic.
    """

    name = "distil_then_quantise"
    parallel_fit = True  # the distillation is shared; the first process quantises
    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    scheme: Annotated[Literal["static", "dynamic"], kdbench.Search(fixed=True)] = "static"
    calibration: Calibration = 512

    def check(self, pair):
        """Refuse students that cannot be quantised, and machines without integer kernels."""
        check_quantisable(self, pair, pair.student.module, self.scheme)

    def fit(self, trainer):
        """Distil; mixed precision is refused."""
        refuse_half(self, trainer)
        super().fit(trainer)

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft targets."""
        return soft_targets(batch, student, teacher, self.temperature, self.alpha)

    def finish(self, trainer):
        """The distilled student in int8."""
        from kdbench_compression import quantised

        if self.scheme == "dynamic":
            return quantised.dynamic(trainer.student)
        return quantised.calibrated(trainer, self.calibration)
