"""What the gradient methods share: soft targets beside their own term, and derivatives that can be learnt from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import kdbench
from kdbench_features.geometry import flat, unit
from kdbench_features.memory import Memory

if TYPE_CHECKING:
    from torch import Tensor

Of = Literal["label", "teacher"]


class BesideSoftTargets(kdbench.Method):
    """kd's objective, (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), and the named terms that a subclass writes.

    Gradients alone fix the answers up to a constant, and training by them alone is unstable. A subclass sets `name` to
    what it is registered as.
    """

    name: ClassVar[str]
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.9

    def loss(self, batch, student, teacher):
        """Cross-entropy, soft targets, and the subclass's terms."""
        target = teacher.logits.detach()  # the teacher's graph is there for its gradients alone
        fused = kdbench.kernels.kd_hinton(student.logits, target, batch.labels, self.temperature, self.alpha)
        ce = (1 - self.alpha) * fused.ce
        return {"ce": ce, "kd": fused.loss - ce, **self.terms(batch, student, teacher)}

    def terms(self, batch, student, teacher):
        """The weighted, named terms, scalars."""
        raise NotImplementedError(f"{type(self).__name__} defines no terms()")

    def refuse(self, what, why, fix):
        """Raise MethodRefused under the method's name."""
        raise kdbench.MethodRefused(f"method {self.name!r} cannot serve this pair: {what}", why, fix)

    def check_shared_view(self, pair):
        """Refuse models that see different views: gradients at their inputs do not compare."""
        if not pair.shared_view:
            self.refuse(
                "it compares gradients at the input, and the models see different views",
                f"student {pair.student.name!r} and teacher {pair.teacher.name!r} on dataset {pair.dataset.name!r}",
                "give both the same view: --set teacher_view=... --set student_view=...",
            )


class Said(NamedTuple):
    """The teacher's logits (N, C) and a gradient of it, or what was made of one, (N, ...)."""

    logits: Tensor
    gradient: Tensor


class OncePerItem(BesideSoftTargets):
    """One whose gradient of the teacher is the item's own, the same in every epoch whose inputs are.

    A subclass writes `said`, and `terms` beside that. Without augmentation the teacher runs, forward and backward, in
    the first epoch alone: what it said is kept in memory, on the device, where that takes no more than
    `memory.MOST_BYTES` for all train items.
    """

    def build(self, pair):
        """Nothing that is trained; what is remembered begins empty."""
        self._memory = Memory(pair.dataset.train_size)

    def loss(self, batch, student, teacher):
        """Cross-entropy, soft targets, and the subclass's terms."""
        return super().loss(batch, student, self.said(batch, teacher))

    def said(self, batch, teacher):
        """What the terms read of the teacher's outputs, detached: a `Said`."""
        raise NotImplementedError(f"{type(self).__name__} defines no said()")

    def step(self, trainer, batch):
        """One step of the student, and a pass of the teacher where it has not been asked of all the batch's items."""
        student = trainer.student_outputs(batch)
        if trainer.recipe.augment:
            return trainer.optimize(self.loss(batch, student, trainer.teacher_outputs(batch)))
        said = self._memory.recalled(batch.index, lambda: self.said(batch, trainer.teacher_outputs(batch)))
        return trainer.optimize(super().loss(batch, student, Said(*said)))


class AtFeature(OncePerItem):
    """One that differentiates at a feature of each model."""

    student_layer: str = "middle"
    teacher_layer: str = "middle"

    @property
    def needs(self):
        """One feature of each model, and gradients there."""
        return kdbench.needs(
            logits=True,
            student_features=[self.student_layer],
            teacher_features=[self.teacher_layer],
            feature_grad=True,
        )

    def shapes(self, pair):
        """(student's shape, teacher's shape) of the feature, without the batch."""
        return pair.student.features[self.student_layer], pair.teacher.features[self.teacher_layer]

    def refuse_shapes(self, pair, what):
        """Raise MethodRefused with both shapes."""
        student, teacher = self.shapes(pair)
        self.refuse(
            what,
            f"student {pair.student.name!r} has {self.student_layer!r} of shape {student}, "
            f"teacher {pair.teacher.name!r} has {self.teacher_layer!r} of shape {teacher}",
            f"choose other models, or other layers: --set {self.name}.student_layer=... "
            f"--set {self.name}.teacher_layer=...",
        )


def slope(values, at, *, learnt=False, keep=False):
    """The gradient of the summed `values` at the tensor `at`, of its shape, at least float32.

    Args:
        learnt: with a graph of its own, so that a loss of it trains the model.
        keep: the graph of `values` is kept for another call.
    """
    import torch

    (gradient,) = torch.autograd.grad(values.sum(), at, create_graph=learnt, retain_graph=learnt or keep)
    return gradient.float() if gradient.element_size() < 4 else gradient


def chosen_logit(of, batch, logits, teacher_logits):
    """Of `logits` those, (N, 1), of the label's class or of the one that the teacher finds largest."""
    classes = batch.labels if of == "label" else teacher_logits.argmax(1)
    return logits.gather(1, classes[:, None])


def angle(one, other):
    """Mean over items of ‖u − v‖² of two gradients (N, ...) at unit length, in [0, 4]: 2 − 2·cosine."""
    return (unit(flat(one)) - unit(flat(other))).square().sum(1).mean()
