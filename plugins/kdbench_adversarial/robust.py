"""Adversarially robust distillation: the teacher's answer where the student is attacked."""

from dataclasses import replace
from typing import Annotated, Literal

import kdbench


class RobustDistillation(kdbench.Method):
    """Adversarially robust distillation (Goldblum et al., 2020, algorithm 1).

    α·T²·KL(t(x) ‖ s(x′)) + (1−α)·CE(s(x), y). x′ is x moved within ±eps of each coordinate by `steps` steps of
    `step_size` from a random point there to where the student, in evaluation mode, is far from the label (attack="ce",
    as the authors train) or from t(x) (attack="kl": the same divergence, after Zi et al., 2021, RSLAD).

    The unit of eps and step_size is that of the standardised inputs: one standard deviation of the feature, or of the
    picture's channel, over the training items. 8/255 of a picture's range is 8/255 divided by that deviation, in
    [0, 1]: about 0.08 on digits, 0.12 on natural pictures. Inputs are not clipped to their range. α and T are kd's, for
    comparison (the authors' code has 1 and 30); eps, the step and the steps are ours, in the usual proportion. Its runs
    are measured by robust_accuracy:EPS; `--measure` gives other methods the same. A teacher that is itself robust has
    more to teach.
    """

    needs = kdbench.needs(logits=True, differentiates=["student"])
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    eps: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 0.1
    step_size: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 0.025
    steps: Annotated[int, kdbench.Meta(ge=1)] = 10
    attack: Annotated[Literal["kl", "ce"], kdbench.Search(fixed=True)] = "ce"

    @property
    def measures(self):
        """Accuracy under the attack that it trains for."""
        return (f"robust_accuracy:{self.eps:g}",)

    def step(self, trainer, batch):
        """Attack the student, then train it on what came of it."""
        target = trainer.teacher_outputs(batch).logits

        def answers(inputs):
            return trainer.student_outputs(replace(batch, inputs=inputs)).logits

        moved = self._attacked(trainer.student, answers, batch, target)
        kd = self.alpha * kdbench.kernels.kd_kl(answers(moved), target, self.temperature)
        if self.alpha == 1:
            return trainer.optimize({"kd": kd})
        return trainer.optimize({"ce": (1 - self.alpha) * batch.cross_entropy(answers(batch.inputs)), "kd": kd})

    def _attacked(self, model, answers, batch, target):
        import torch

        from kdbench_adversarial.attack import ascend, evaluating

        def damage(at):
            if self.attack == "ce":
                return batch.cross_entropy(answers(at))
            return kdbench.kernels.kd_kl(answers(at), target, self.temperature)

        noise = torch.empty_like(batch.inputs).uniform_(-self.eps, self.eps)
        with evaluating(model):
            return ascend(damage, batch.inputs, eps=self.eps, step_size=self.step_size, steps=self.steps, noise=noise)
