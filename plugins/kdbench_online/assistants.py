"""Assistants between a large teacher and a small student."""

import math

import kdbench
from kdbench_online.soft import Soft


class TeacherAssistant(Soft):
    """Teacher assistants (Mirzadeh et al., 2020): teacher → assistant → ... → student, kd at every arrow.

    The paper's sec. "Teacher Assistant Knowledge Distillation"; its sections have no numbers. `assistants` names
    registered students, from the largest to the smallest. The first learns from the run's teacher by
    (1−α)·CE + α·T²·KL (eq. 3), with the recipe and data of the student and in its view; each next one, and at last the
    student, from the one before. An assistant depends on the run's seed, the pair and its place in the chain alone; its
    training comes on top of the student's.

    Without names there is one assistant: of the registered students of the pair's families, larger than the student and
    smaller than the teacher, that whose number of parameters is nearest to the geometric mean of theirs.

    Defaults: T and α as in kd; the choice of the assistant is kdbench's.
    """

    parallel_fit = True
    assistants: tuple[str, ...] = ()

    @property
    def uses_models(self):
        """The assistants."""
        return self.assistants

    def check(self, pair):
        """Refuse a pair with nothing in the middle."""
        if not self.chain(pair):
            raise kdbench.MethodRefused(
                "method 'takd' cannot serve this pair: no registered student has a size in the middle",
                f"between student {pair.student.name!r} and teacher {pair.teacher.name!r}, of their families",
                """name the assistants: --set 'takd.assistants=["NAME"]' (kdbench list students)""",
            )

    def chain(self, pair):
        """The assistants' names, from the teacher's end."""
        if self.assistants:
            return self.assistants
        sizes = pair.students_between()
        if not sizes:  # as beside an estimator, which has no parameters
            return ()
        middle = sum(math.log(_size(info.module)) for info in (pair.student, pair.teacher)) / 2
        return tuple(sorted(sizes, key=lambda name: (abs(math.log(sizes[name]) - middle), name))[:1])

    def fit(self, trainer):
        """Train the assistants, one after the other; then the student."""
        for number, name in enumerate(self.chain(trainer.pair)):
            fresh = trainer.pair.new_model(name, "assistant", number)
            stage = Soft(temperature=self.temperature, alpha=self.alpha)
            trainer.learn_from(trainer.train_model(fresh, "assistant", number, method=stage))
        super().fit(trainer)


def _size(model):
    return sum(parameter.numel() for parameter in model.parameters())
