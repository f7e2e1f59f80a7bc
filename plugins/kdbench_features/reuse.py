"""SimKD: the student learns to feed the teacher's own classifier."""

import copy
from typing import Annotated

import kdbench
from kdbench_features.geometry import flat


class ReusedClassifier(kdbench.Method):
    """Reused teacher classifier (Chen et al., 2022, sec. 3): weight · mean (P(f_s) − f_t)², and no labels.

    f are the vectors that each model's last linear layer reads; P, the `kdbench.projectors` regressor of the student's
    to the teacher's width, and a frozen copy of the teacher's classifier take the place of the student's own. They
    belong to the student: it is scored, measured and counted with both.
    """

    needs = kdbench.needs(teacher_features=["penultimate"], student_features=["penultimate"])
    weight: Annotated[float, kdbench.Meta(gt=0)] = 1.0

    def check(self, pair):
        """Refuse models that do not end in a linear layer on vectors."""
        for role, info in (("student", pair.student), ("teacher", pair.teacher)):
            shape = info.features["penultimate"]
            if _last_linear(info.module) is None or len(shape) != 1:
                raise kdbench.MethodRefused(
                    "method 'simkd' cannot serve this pair: it needs a linear classifier on vectors",
                    f"{role} {info.name!r} reads 'penultimate' of shape {shape}",
                    "choose a model that ends in a linear layer, or another method: kdbench list methods",
                )

    def build(self, pair):
        """Put the projector and the teacher's classifier in the place of the student's."""
        from kdbench_features.head import Head

        student, teacher = pair.student, pair.teacher
        projector = kdbench.projectors.regressor(student.features["penultimate"], teacher.features["penultimate"])
        classifier = copy.deepcopy(teacher.module.get_submodule(_last_linear(teacher.module))).requires_grad_(False)
        self._head = Head(projector, classifier)
        device = next(student.module.parameters()).device
        student.module.set_submodule(_last_linear(student.module), self._head.to(device))

    def loss(self, batch, student, teacher):
        """The regression of the teacher's vectors."""
        difference = self._head.take() - flat(teacher.features["penultimate"])
        return {"feature": self.weight * difference.square().mean()}


def _last_linear(model):
    from torch import nn

    found = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return found[-1] if found else None
