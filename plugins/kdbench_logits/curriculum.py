"""A temperature that is learnt against the student."""

import math
from typing import Annotated

import kdbench


class CurriculumTemperature(kdbench.Method):
    """CTKD with its global temperature (Li et al., 2023): (1−α)·CE + α·τ²·KL(p_t^τ ‖ p_s^τ), τ learnt to raise it.

    τ = lowest + span · sigmoid(θ); θ is trained with the student's optimiser on the gradient times −λ, where λ rises
    from 0 to 1 as ½ (1 + cos((1 + min(epoch, loops) / loops) π)) over `loops` epochs (their eq. 11).

    Defaults: τ in 1 to 21 and 10 loops, as in the paper; α as in kd; τ starts at 4.
    """

    needs = kdbench.needs(logits=True)
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    initial: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1.5, 16, log=True)] = 4.0
    lowest: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 1.0
    span: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 20.0
    loops: Annotated[int, kdbench.Meta(ge=1), kdbench.Search(2, 40, log=True)] = 10

    def __init__(self, **params):
        super().__init__(**params)
        if not self.lowest < self.initial < self.lowest + self.span:
            raise kdbench.InvalidParameter(
                f"CurriculumTemperature: initial={self.initial} is not a temperature that can be learnt",
                f"it lies outside lowest={self.lowest} to lowest + span={self.lowest + self.span}, ends excluded",
                "set initial inside that range, or change lowest and span",
            )

    def build(self, pair):
        """The temperature."""
        from kdbench_logits.temperature import Temperature

        return Temperature(self.initial, self.lowest, self.span)

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft-target terms."""
        done = min(batch.epoch + 1, self.loops) / self.loops
        temperature = self.module((1 + math.cos((1 + done) * math.pi)) / 2)
        kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, temperature)
        return {"ce": (1 - self.alpha) * batch.cross_entropy(student.logits), "kd": self.alpha * kd}
