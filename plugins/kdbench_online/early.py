"""Distillation that stops early, from a teacher that may have stopped early too."""

from typing import Annotated

import kdbench
from kdbench_online.soft import Soft


class EarlyStoppedKD(Soft):
    """Early-stopped distillation (Cho & Hariharan, 2019): kd in the first part of the training, then labels alone.

    The loss is (1−α)·CE + α·T²·KL while the progress of the training is below `distil`, and CE after it (their sec.
    "Distillation adversely affects training"). With `teacher_fraction` below 1 the teacher is a fresh one of the same
    architecture, trained on labels with the teacher's recipe for that fraction of its epochs, the schedule drawn
    together to them: their early-stopped teacher. These epochs come on top of the student's.

    Defaults: T and α as in kd; half of the training, and the run's own teacher, are kdbench's choice.
    """

    parallel_fit = True
    distil: Annotated[float, kdbench.Meta(ge=0, le=1), kdbench.Search(0.01, 1)] = 0.5
    teacher_fraction: Annotated[float, kdbench.Meta(gt=0, le=1)] = 1.0

    def __init__(self, **params):
        super().__init__(**params)
        if self.distil == 0:
            raise kdbench.InvalidParameter(
                "EarlyStoppedKD: with distil=0 nothing is distilled",
                "no teacher, temperature or alpha would count: it would be scratch under another name",
                "set distil above 0, or use method scratch",
            )

    def check(self, pair):
        """Refuse to train anew a teacher that came trained."""
        if self.teacher_fraction < 1 and pair.teacher_recipe is None:
            raise kdbench.MethodRefused(
                "method 'early_stop_kd' cannot serve this pair: its teacher came trained, or was fitted at once",
                f"teacher_fraction={self.teacher_fraction} asks for one of {pair.teacher.name!r} that stopped early",
                "leave teacher_checkpoint out, or set teacher_fraction to 1",
            )

    def fit(self, trainer):
        """Train the teacher that stops early, where one is asked for; then the student."""
        from msgspec.structs import replace

        if self.teacher_fraction < 1:
            fresh = trainer.pair.new_model("teacher", "early-stopped teacher", view="teacher")
            whole = trainer.pair.teacher_recipe
            recipe = replace(whole, epochs=max(1, round(self.teacher_fraction * whole.epochs)))
            teacher = trainer.train_model(fresh, "early-stopped teacher", view="teacher", recipe=recipe)
            trainer.learn_from(teacher, "teacher")
        super().fit(trainer)

    def step(self, trainer, batch):
        """One step; past `distil` the teacher is not run."""
        if batch.progress < self.distil:
            return super().step(trainer, batch)
        return trainer.optimize(self.loss(batch, trainer.student_outputs(batch), None))

    def loss(self, batch, student, teacher):
        """Cross-entropy, with soft targets while it distils."""
        if batch.progress < self.distil:
            return super().loss(batch, student, teacher)
        return {"ce": batch.cross_entropy(student.logits)}
