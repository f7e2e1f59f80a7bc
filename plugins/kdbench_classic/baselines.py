"""Training without a teacher."""

from typing import Annotated

import kdbench


class Scratch(kdbench.Method):
    """Cross-entropy on the labels: the undistilled student."""

    tasks = (*kdbench.ITEM_TASKS, *kdbench.TOKEN_TASKS, "span-qa")

    def loss(self, batch, student, teacher):
        """Mean cross-entropy."""
        return {"ce": batch.cross_entropy(student.logits)}


class LabelSmoothing(kdbench.Method):
    """Label smoothing (Szegedy et al., 2016, sec. 7): (1−ε)·CE(labels) + ε·CE(uniform)."""

    tasks = ("binary", "multiclass", "multilabel", *kdbench.TOKEN_TASKS)

    epsilon: Annotated[float, kdbench.Meta(ge=0, lt=1), kdbench.Search(0.01, 0.5, log=True)] = 0.1

    def loss(self, batch, student, teacher):
        """Mean cross-entropy against smoothed labels."""
        return {"ce": batch.cross_entropy(student.logits, label_smoothing=self.epsilon)}
