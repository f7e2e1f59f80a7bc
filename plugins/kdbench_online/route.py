"""A curriculum of teachers: one teacher, ever later in its training."""

from typing import Annotated

import kdbench
from kdbench_online.soft import Soft


class RouteConstrained(Soft):
    """Route-constrained optimisation (Jin et al., 2019, sec. 3): kd from anchors on the teacher's way to its end.

    The teacher's training is done again, with its own recipe and seed, and kept at equally spaced epochs:
    anchor n of `anchors` after n/anchors of its epochs; the last is the run's teacher itself. The student's training is
    cut into as many equal parts, and in each it distils from the next anchor, under the recipe's one schedule (the
    paper chooses the anchors by equal spacing or by search; here it is equal spacing). Anchors of a short training
    that fall on the same epoch are one. The repeated training comes on top of the student's, in the first run with a
    teacher: the bank keeps its anchors, which are the same for all seeds. The teacher's size stays; a teacher that
    shrinks step by step is `shrink_distil`.

    Defaults: T and α as in kd; 4 anchors are kdbench's choice.
    """

    parallel_fit = True
    anchors: Annotated[int, kdbench.Meta(ge=2)] = 4

    def check(self, pair):
        """Refuse a teacher whose training cannot be done again."""
        if pair.teacher_recipe is None:
            raise kdbench.MethodRefused(
                "method 'progressive' cannot serve this pair: its teacher came trained, or was fitted at once",
                f"it distils from {pair.teacher.name!r} at earlier points of its training",
                "leave teacher_checkpoint out, or choose another method: kdbench list methods",
            )

    def fit(self, trainer):
        """The anchors, from the bank or from the teacher's training done again up to the last but one; the student."""
        whole = trainer.pair.teacher_recipe.epochs
        epochs = [max(1, round(whole * number / self.anchors)) for number in range(1, self.anchors)]
        found = trainer.teacher_after(epochs)
        self._route = [*(found[epoch] for epoch in epochs), trainer.pair.teacher.module]
        self._at = None
        super().fit(trainer)

    def step(self, trainer, batch):
        """One step of kd, from the anchor of this part of the training."""
        anchor = self._route[min(int(batch.progress * self.anchors), self.anchors - 1)]
        if anchor is not self._at:
            self._at = anchor
            trainer.learn_from(anchor, "teacher")
        return super().step(trainer, batch)
