"""The frame of the feature methods: cross-entropy, and a term for each pair of layers."""

import math
from typing import Annotated, ClassVar

import kdbench

Layers = Annotated[tuple[str, ...], kdbench.Meta(min_length=1)]


class LayerPairs(kdbench.Method):
    """CE + the terms of each pair (student_layers[n], teacher_layers[n]), summed over the pairs.

    A subclass writes `terms`. It sets `name` to what it is registered as, `maps` where it needs maps (C, H, W),
    `relational` where its terms compare the items of a batch, so that a batch of one teaches nothing, and `normalizes`
    where its modules end in batch norm of the teacher's shape, which has no variance of a single number;
    `normalizes_student` where they have one of the student's.
    """

    tasks = kdbench.ITEM_TASKS
    name: ClassVar[str]
    maps: ClassVar[bool] = False
    relational: ClassVar[bool] = False
    normalizes: ClassVar[bool] = False
    normalizes_student: ClassVar[bool] = False
    student_layers: Layers = ("penultimate",)
    teacher_layers: Layers = ("penultimate",)

    @property
    def needs(self):
        """The chosen features."""
        return kdbench.needs(student_features=self.student_layers, teacher_features=self.teacher_layers)

    def shapes(self, pair):
        """(student's shape, teacher's shape) of each pair of layers, without the batch."""
        layers = zip(self.student_layers, self.teacher_layers, strict=True)
        return [(pair.student.features[one], pair.teacher.features[other]) for one, other in layers]

    def check(self, pair):
        """Refuse layers that do not pair up, features without the axes that the method reads, batches of one."""
        counts = len(self.student_layers), len(self.teacher_layers)
        if counts[0] != counts[1]:
            self.refuse(
                f"{counts[0]} student layers cannot be paired with {counts[1]} teacher layers",
                f"student_layers {self.student_layers}, teacher_layers {self.teacher_layers}",
                f"name as many of each: {self._example()}",
            )
        for number, (student, teacher) in enumerate(self.shapes(pair)):
            problem = self.mismatch(student, teacher)
            if problem:
                layers = self.student_layers[number], self.teacher_layers[number]
                self.refuse(
                    problem,
                    f"student {pair.student.name!r} has {layers[0]!r} of shape {student}, "
                    f"teacher {pair.teacher.name!r} has {layers[1]!r} of shape {teacher}",
                    f"choose other models, or other layers: {self._example()}",
                )
        if pair.batch_size == 1:
            self._check_batches_of_one(pair)

    def _check_batches_of_one(self, pair):
        sides = self.normalizes_student, self.normalizes
        shapes = [shape for both in self.shapes(pair) for shape, norm in zip(both, sides, strict=True) if norm]
        normalized = [shape for shape in shapes if math.prod(shape[1:]) == 1]
        if self.relational:
            what, why = "it compares the items of a batch", f"{pair.dataset.train_size} items in batches of one"
        elif normalized:
            what, why = "its modules have batch norm", f"of features of shape {normalized[0]}"
        else:
            return
        self.refuse(f"{what}, and a batch has one", why, "use larger batches: --set recipe.batch_size=64")

    def mismatch(self, student, teacher):
        """Why features of these shapes cannot be matched; empty where they can."""
        if self.maps and not len(student) == len(teacher) == 3:
            return "it needs feature maps (C, H, W) of both models"
        return ""

    def _example(self):
        return f"--set {self.name}.student_layers=stage1 --set {self.name}.teacher_layers=stage1"

    def refuse(self, what, why, fix):
        """Raise MethodRefused under the method's name."""
        raise kdbench.MethodRefused(f"method {self.name!r} cannot serve this pair: {what}", why, fix)

    def loss(self, batch, student, teacher):
        """Cross-entropy and the summed terms."""
        return {"ce": batch.cross_entropy(student.logits), **self.layer_terms(batch, student, teacher)}

    def layer_terms(self, batch, student, teacher):
        """The terms summed over the pairs of layers."""
        total = {}
        for number, (one, other) in enumerate(self.paired(student, teacher)):
            for name, value in self.terms(batch, number, one, other).items():
                total[name] = total[name] + value if name in total else value
        return total

    def paired(self, student, teacher):
        """Both models' features of each pair of layers, those of half precision widened to float32."""
        layers = zip(self.student_layers, self.teacher_layers, strict=True)
        return [(_widened(student.features[one]), _widened(teacher.features[other])) for one, other in layers]

    def terms(self, batch, number, student, teacher):
        """The weighted, named terms of pair `number`, scalars, from its features (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} defines no terms()")


def _widened(features):
    return features.float() if features.element_size() < 4 else features
