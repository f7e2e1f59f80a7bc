"""Students that learn from students of the same kind."""

from typing import Annotated

import kdbench


class BornAgain(kdbench.Method):
    """Born-again networks (Furlanello et al., 2018, sec. 3, eq. 2-3): ce·CE + weight·T²·KL from the generation before.

    Generation 0 of the student's architecture learns from labels alone; each later one has fresh weights and learns
    from the one before, for the recipe's epochs. The student that is scored is generation `generations`; the paper's
    ensembles of generations are not here. The pair's teacher takes no part. Every generation but the last comes on top
    of the student's own training.

    Defaults: CE and KL at weight 1 and temperature 1, as in the paper; two generations.
    """

    parallel_fit = True
    generations: Annotated[int, kdbench.Meta(ge=1)] = 2
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    ce: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    def fit(self, trainer):
        """Train the earlier generations, one after the other; then the student."""
        for number in range(self.generations):
            fresh = trainer.pair.new_model("student", "generation", number)
            method = type(self)(**self.params) if number else None
            trainer.learn_from(trainer.train_model(fresh, "generation", number, method=method))
        super().fit(trainer)

    def loss(self, batch, student, teacher):
        """Cross-entropy and the divergence from the previous generation."""
        kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature)
        return {"ce": self.ce * batch.cross_entropy(student.logits), "kd": self.weight * kd}
