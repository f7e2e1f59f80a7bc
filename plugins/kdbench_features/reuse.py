"""SimKD: the student learns to feed the teacher's own classifier."""

import copy
import math
from typing import Annotated, Literal

import kdbench
from kdbench_features.geometry import resized

Size = kdbench.Search(fixed=True, why="it decides the student's size")


class ReusedClassifier(kdbench.Method):
    """Reused teacher classifier (Chen et al., 2022, sec. 3): weight · mean (P(f_s) − f_t)², and no labels.

    f are the last maps before global average pooling, averaged down to the smaller height and width of the two, the
    student's before the projector P: 1×1, 3×3 and 1×1 convolutions with C_t / `reduction` channels inside, each with
    batch norm and ReLU. The projected maps are pooled, and a frozen copy of the teacher's classifier reads them. P and
    that classifier belong to the student: it is scored, measured and counted with both.

    Where a model has no such maps, as a perceptron, f are the vectors that each model's last linear layer reads and P a
    linear layer with batch norm (`kdbench.projectors`), our stand-in; `projector` asks for one or the other. P's last
    ReLU is the paper's: a teacher whose maps are negative too is not reached there.

    Defaults: the mean squared error alone and a reduction of 2, the paper's.
    """

    weight: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    projector: Annotated[Literal["auto", "conv", "linear"], Size] = "auto"
    reduction: Annotated[int, kdbench.Meta(ge=1), Size] = 2

    @property
    def needs(self):
        """What each classifier reads, before pooling where it may be maps."""
        return kdbench.needs(teacher_features=[self._feature], student_features=[self._feature])

    @property
    def _feature(self):
        return "penultimate" if self.projector == "linear" else "penultimate:maps"

    def check(self, pair):
        """Refuse models that do not end in a linear layer on vectors or pooled maps, and batches of one number each."""
        sides = [("student", pair.student), ("teacher", pair.teacher)]
        for role, info in sides:
            shape = info.features[self._feature]
            if len(shape) not in {1, 3} or shape[0] != getattr(_classifier(info), "in_features", None):
                fix = "choose a model that ends in a linear layer, or another method: kdbench list methods"
                self._refuse("it needs a linear classifier on vectors, or on maps that are pooled", role, info, fix)
        if self.projector == "conv" and not self._of_maps(pair):
            what = "its convolutions need maps (C, H, W), of the student those that a module pools"
            role, info = next((side for side in sides if len(side[1].features[self._feature]) == 1), sides[0])
            self._refuse(what, role, info, "--set simkd.projector=auto, or choose convolutional networks")
        positions = math.prod(self._size(pair)) if self._of_maps(pair) else 1
        if pair.batch_size == 1 and positions == 1:
            fix = "use larger batches: --set recipe.batch_size=64"
            self._refuse("its projector has batch norm, and a batch has one item", *sides[1], fix)

    def _refuse(self, what, role, info, fix):
        raise kdbench.MethodRefused(
            f"method 'simkd' cannot serve this pair: {what}",
            f"{role} {info.name!r} reads {self._feature!r} of shape {info.features[self._feature]}",
            fix,
        )

    def _shapes(self, pair):
        return pair.student.features[self._feature], pair.teacher.features[self._feature]

    def _of_maps(self, pair):
        """Whether both have maps, and the student a module that pools them, for the projector to stand before it."""
        return all(len(shape) == 3 for shape in self._shapes(pair)) and bool(_place(pair.student, self._feature))

    def _size(self, pair):
        """The smaller height and the smaller width of the two models' maps."""
        (_, *one), (_, *other) = self._shapes(pair)
        return tuple(map(min, one, other))

    def build(self, pair):
        """Put the projector before the student's pooling or classifier, and the teacher's classifier in its place."""
        from kdbench_features.head import Projected, bottleneck

        student, (inputs, *size), (outputs, *_) = pair.student, *self._shapes(pair)
        device = next(student.module.parameters()).device
        classifier = copy.deepcopy(_classifier(pair.teacher)).requires_grad_(False).to(device)
        end = _place(student, "penultimate")
        if self._of_maps(pair):
            resize = self._size(pair) if self._size(pair) != tuple(size) else None
            pooling = _place(student, "penultimate:maps")
            projector = bottleneck(inputs, outputs, self.reduction, resize)
            self._projected = Projected(projector, student.module.get_submodule(pooling)).to(device)
            student.module.set_submodule(pooling, self._projected)
            student.module.set_submodule(end, classifier)
        else:
            self._projected = Projected(kdbench.projectors.regressor((inputs,), (outputs,)), classifier).to(device)
            student.module.set_submodule(end, self._projected)

    def loss(self, batch, student, teacher):
        """The regression of the teacher's maps or vectors."""
        projected, wanted = self._projected.take(), teacher.features[self._feature]
        if projected.ndim == 4:
            wanted = resized(wanted, projected.shape[2:])
        elif wanted.ndim == 4:  # the student has vectors alone
            wanted = wanted.mean((2, 3))
        return {"feature": self.weight * (projected - wanted).square().mean()}


def _place(info, feature):
    """The module that receives a feature; empty where none does."""
    place, _, end = info.path(feature).rpartition(":")
    return place if end == "input" else ""


def _classifier(info):
    from torch import nn

    place = _place(info, "penultimate")
    module = info.module.get_submodule(place) if place else None
    return module if isinstance(module, nn.Linear) else None
