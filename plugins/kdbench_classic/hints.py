"""FitNet: hints from the middle of the teacher."""

from typing import Annotated

import kdbench


class FitNet(kdbench.Method):
    """Hint training (Romero et al., 2015, eq. 3) beside cross-entropy: CE + weight · mean (r(f_s) − f_t)².

    The regressor r is a 1×1 convolution (maps) or a linear layer (vectors), trained with the student; maps of another
    size are resized by average pooling.
    """

    student_layer: str = "middle"
    teacher_layer: str = "middle"
    weight: Annotated[float, kdbench.Meta(ge=0)] = 100.0

    @property
    def needs(self):
        """One feature of each model."""
        return kdbench.needs(student_features=[self.student_layer], teacher_features=[self.teacher_layer])

    def build(self, pair):
        """The regressor."""
        return kdbench.projectors.regressor(
            pair.student.features[self.student_layer], pair.teacher.features[self.teacher_layer]
        )

    def loss(self, batch, student, teacher):
        """Cross-entropy and the hint term."""
        hint = self.module(student.features[self.student_layer]) - teacher.features[self.teacher_layer]
        return {"ce": batch.cross_entropy(student.logits), "hint": self.weight * hint.square().mean()}
