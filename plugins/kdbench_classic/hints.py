"""FitNet: hints from the middle of the teacher."""

import math
from typing import Annotated

import kdbench


class FitNet(kdbench.Method):
    """Hint training (Romero et al., 2015, eq. 3) beside cross-entropy: CE + weight · mean (r(f_s) − f_t)².

    The regressor r is a 1×1 convolution (maps) or a linear layer (vectors), trained with the student; maps of another
    size are resized by average pooling.
    """

    tasks = kdbench.ITEM_TASKS
    student_layer: str = "middle"
    teacher_layer: str = "middle"
    weight: Annotated[float, kdbench.Meta(ge=0)] = 100.0

    @property
    def needs(self):
        """One feature of each model."""
        return kdbench.needs(student_features=[self.student_layer], teacher_features=[self.teacher_layer])

    def check(self, pair):
        """Refuse shapes that the regressor does not bring together, and single numbers for its batch norm."""
        student, teacher = pair.student.features[self.student_layer], pair.teacher.features[self.teacher_layer]
        if (len(student), len(teacher)) not in {(3, 3), (3, 1), (1, 1)}:
            what = "its regressor takes maps (C, H, W) to maps or vectors, and vectors (D,) to vectors"
            fix = "choose other layers: --set fitnet.student_layer=... --set fitnet.teacher_layer=..."
        elif pair.batch_size == 1 and math.prod(teacher[1:]) == 1:
            what, fix = "its regressor has batch norm, and a batch has one item", "--set recipe.batch_size=64"
        else:
            return
        raise kdbench.MethodRefused(
            f"method 'fitnet' cannot serve this pair: {what}",
            f"student {pair.student.name!r} has {self.student_layer!r} of shape {student}, "
            f"teacher {pair.teacher.name!r} has {self.teacher_layer!r} of shape {teacher}",
            fix,
        )

    def build(self, pair):
        """The regressor."""
        return kdbench.projectors.regressor(
            pair.student.features[self.student_layer], pair.teacher.features[self.teacher_layer]
        )

    def loss(self, batch, student, teacher):
        """Cross-entropy and the hint term."""
        hint = self.module(student.features[self.student_layer]) - teacher.features[self.teacher_layer]
        return {"ce": batch.cross_entropy(student.logits), "hint": self.weight * hint.square().mean()}
