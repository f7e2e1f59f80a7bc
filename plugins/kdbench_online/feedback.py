"""A weight and a temperature that follow what validation says."""

from typing import Annotated

import kdbench
from kdbench_online.soft import Soft


class AdaptiveKD(Soft):
    """Soft targets, weighted and softened by how far the student is behind the teacher on validation: kdbench's rule.

    The loss is (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T) with α = last_alpha + g·(alpha − last_alpha) and
    T = last_temperature + g·(temperature − last_temperature). g is 1 in the first epoch. After every epoch
    g ← (1 − rate)·g + rate·min(1, max(0, (a_t − a_s) / (a_t − 1/classes))), a the accuracies on the validation split
    and 1/classes that of guessing; the fraction is 0 where the teacher is no better than that. So a student that has
    caught up learns with last_alpha at last_temperature. The epoch's logs have `gap`, the g that it was trained with.

    Defaults are kdbench's choice: it begins as kd and ends near the labels.
    """

    last_temperature: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    last_alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.1
    rate: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.5

    _gap: float = 1.0
    _teacher_accuracy: float | None = None

    def loss(self, batch, student, teacher):
        """Cross-entropy and soft-target terms at the present weight and temperature."""
        temperature = self.last_temperature + self._gap * (self.temperature - self.last_temperature)
        alpha = self.last_alpha + self._gap * (self.alpha - self.last_alpha)
        return self.soft(batch, student, teacher, temperature, alpha)

    def epoch_finished(self, trainer, logs):
        """Measure the gap for the next epoch."""
        if self._teacher_accuracy is None:
            self._teacher_accuracy = trainer.validate(trainer.teacher.module, "teacher")["accuracy"]
        trainer.history[-1]["gap"] = self._gap
        above_chance = self._teacher_accuracy - 1 / trainer.pair.dataset.num_classes
        behind = (self._teacher_accuracy - logs["val_accuracy"]) / above_chance if above_chance > 0 else 0.0
        self._gap += self.rate * (min(1.0, max(0.0, behind)) - self._gap)
