"""Classifiers on shallow stages, taught by the deepest."""

from typing import Annotated

import kdbench


class BeYourOwnTeacher(kdbench.Method):
    """Be your own teacher (Zhang et al., 2019, sec. 3): exits on shallow layers, which the deepest classifier teaches.

    CE(student) + Σ over exits of (1−α)·CE(exit) + α·T²·KL(p_student^T ‖ p_exit^T) + hint · mean (F_exit − F_last)².
    The student's answers and its feature F_last are taken as given. An exit is a 3×3 convolution with batch norm (on
    maps), a regressor to the shape of F_last, F_exit, and a linear classifier of its average. Exits are trained with
    the student and dropped at the end: the deepest classifier is scored. The paper sums the squares of the hint.

    Defaults: α .3, hint .03, T 3, as public configurations have them; exits on the first and the middle stage.
    """

    layers: Annotated[tuple[str, ...], kdbench.Meta(min_length=1)] = ("first", "middle")
    last: str = "last"
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.3
    hint: Annotated[float, kdbench.Meta(ge=0)] = 0.03
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 3.0

    @property
    def needs(self):
        """The student's layers."""
        return kdbench.needs(student_features=[*self.layers, self.last])

    def check(self, pair):
        """Refuse a student without a layer for an exit, layers that no exit can be built on, and batches of one."""
        exits = self.exits(pair)
        if not exits:
            path = pair.student.path(self.last)
            _refuse(
                "it has no layer for an exit before the last",
                f"student {pair.student.name!r}: {', '.join(self.layers)} and {self.last!r} are all {path!r}",
                "choose a student with several stages: kdbench list students",
            )
        deepest = pair.student.features[self.last]
        for layer in exits:
            shape = pair.student.features[layer]
            if not (len(shape) in {1, 3} and len(deepest) in {1, 3} and len(shape) >= len(deepest)):
                _refuse(
                    f"an exit on {layer!r} cannot be brought to the shape of {self.last!r}",
                    f"student {pair.student.name!r} has {layer!r} of shape {shape}, {self.last!r} of shape {deepest}",
                    """choose other layers: --set 'byot.layers=["stage1"]' --set byot.last=stage2""",
                )

        if pair.steps_per_epoch >= pair.dataset.train_size > 1:
            _refuse(
                "its exits have batch norm, and a batch has one item",
                f"{pair.dataset.train_size} items in {pair.steps_per_epoch} steps",
                "use larger batches: --set recipe.batch_size=64",
            )

    def exits(self, pair):
        """The layers that get an exit: each module once, the last excluded."""
        paths = {pair.student.path(layer): layer for layer in reversed(self.layers)}
        paths.pop(pair.student.path(self.last), None)
        return [layer for layer in self.layers if layer in paths.values()]

    def build(self, pair):
        """The exits."""
        from torch import nn

        from kdbench_selfdistil.branch import Exit

        self._exits = self.exits(pair)
        shapes, classes = pair.student.features, pair.dataset.num_classes
        return nn.ModuleList(Exit(shapes[layer], shapes[self.last], classes) for layer in self._exits)

    def loss(self, batch, student, teacher):
        """The student's cross-entropy; the exits' terms, summed over them."""
        answers, deepest = student.logits.detach(), student.features[self.last].detach()
        ce = kl = hint = 0.0
        for branch, layer in zip(self.module, self._exits, strict=True):
            feature, logits = branch(student.features[layer])
            fused = kdbench.kernels.kd_hinton(logits, answers, batch.labels, self.temperature, self.alpha)
            exit_ce = (1 - self.alpha) * fused.ce
            ce, kl = ce + exit_ce, kl + fused.loss - exit_ce
            hint = hint + self.hint * (feature - deepest).square().mean()
        return {"ce": batch.cross_entropy(student.logits), "exit_ce": ce, "exit_kd": kl, "hint": hint}


def _refuse(what, why, fix):
    raise kdbench.MethodRefused(f"method 'byot' cannot serve this pair: {what}", why, fix)
