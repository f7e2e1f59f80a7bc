"""A teacher that goes on learning."""

from typing import Annotated

import kdbench


class LearningTeacher(kdbench.Method):
    """Soft targets of a teacher that is trained in the same steps: kdbench's rule, between kd and mutual learning.

    The student minimises (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T); the run's own copy of the trained teacher minimises
    teacher_ce·CE + feedback·KL(p_s ‖ p_t), in training mode, with the student's optimiser. Each takes the other's
    answers as given. The epoch's logs have the teacher's validation accuracy, `val_teacher_accuracy`.

    Defaults: T and α as in kd; teacher_ce 1, and no feedback: at 1 it is that of mutual learning (Zhang et al., 2018,
    sec. 3.1).
    """

    needs = kdbench.needs(logits=True)
    trains_teacher = True
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9
    teacher_ce: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    feedback: Annotated[float, kdbench.Meta(ge=0)] = 0.0

    def __init__(self, **params):
        super().__init__(**params)
        if self.teacher_ce == self.feedback == 0:
            raise kdbench.InvalidParameter(
                "LearningTeacher: with teacher_ce=0 and feedback=0 the teacher learns nothing",
                "then it would be the fixed teacher of kd, in training mode",
                "set one of them above 0, or use method kd",
            )

    def loss(self, batch, student, teacher):
        """The student's terms and the teacher's."""
        ours, theirs = student.logits, teacher.logits
        fused = kdbench.kernels.kd_hinton(ours, theirs.detach(), batch.labels, self.temperature, self.alpha)
        ce = (1 - self.alpha) * fused.ce
        terms = {"ce": ce, "kd": fused.loss - ce, "teacher_ce": self.teacher_ce * batch.cross_entropy(theirs)}
        if self.feedback:
            terms["feedback"] = self.feedback * kdbench.kernels.kd_kl(theirs, ours.detach())
        return terms

    def epoch_finished(self, trainer, logs):
        """Log how good the teacher is now."""
        quality = trainer.validate(trainer.teacher.module, "teacher")
        trainer.history[-1]["val_teacher_accuracy"] = quality["accuracy"]
