"""Methods that prepare the student by the teacher's features before it sees a label."""

from typing import Annotated

import kdbench
from kdbench_features.layers import LayerPairs


class TwoStages(LayerPairs):
    """First the matching terms alone, for `first_stage` of the training; then CE + kd · T² · KL of the soft targets.

    Both stages are within the recipe's epochs, so that the student trains no longer than by other methods. The default
    of `first_stage`, 0.125, is 30 epochs of 240. `kd` is 0: labels alone.
    """

    first_stage: Annotated[float, kdbench.Meta(gt=0, lt=1)] = 0.125
    kd: Annotated[float, kdbench.Meta(ge=0)] = 0.0
    temperature: Annotated[
        float, kdbench.Meta(gt=0), kdbench.Search(fixed=True, why="soft targets are off by default")
    ] = 4.0

    @property
    def needs(self):
        """The chosen features, and logits for soft targets."""
        return kdbench.needs(
            logits=self.kd > 0, student_features=self.student_layers, teacher_features=self.teacher_layers
        )

    def may_choose(self, trainer):
        """In the second stage, which sees labels."""
        return len(trainer.history) > self.first_stage * trainer.recipe.epochs

    def loss(self, batch, student, teacher):
        """The terms of the stage that the training is in."""
        if batch.progress < self.first_stage:
            return self.layer_terms(batch, student, teacher)
        found = {"ce": batch.cross_entropy(student.logits)}
        if self.kd:
            found["kd"] = self.kd * kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature)
        return found
