"""The overhaul of feature distillation: what the teacher's next activation lets through, and how far below zero."""

from typing import Annotated, Literal

import kdbench
from kdbench_features.information import VariationalInformation
from kdbench_features.layers import LayerPairs, Layers
from kdbench_features.passes import batches


class Overhaul(LayerPairs):
    """Overhauled distillation (Heo et al., 2019, ICCV, eq. 4): CE + weight · Σ over layers of D(max(t, m), r(s)).

    s and t are features before the activation; m, one for each of the teacher's channels, is what is expected of its
    negative values; r is the `kdbench.projectors` regressor of the student's to the teacher's shape. The partial
    distance D(t, s) is the sum of (t − s)² except where s ≤ t ≤ 0, on average over items. A layer counts `shallower`
    times as much as the next deeper, as in the authors' configurations.

    m is E[x | x < 0] for normal x with the mean and deviation that the teacher's last batch norm before the activation
    gives; those of a residual sum's branches add up. Where no batch norm leads to it, as in a perceptron, m is the mean
    of the negative values on the training items, our stand-in. `margins` asks for one or the other for all layers; it
    is not searched, for the teacher decides which there is. The paper has the teacher normalise by the batch; here it
    is used as it is evaluated.
    """

    name = "ofd"
    normalizes = True
    parallel_fit = True  # its fit measures, in each process, the same margins of all items
    student_layers: Layers = ("first:pre", "middle:pre", "last:pre")
    teacher_layers: Layers = ("first:pre", "middle:pre", "last:pre")
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1e-3
    shallower: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.5
    margins: Annotated[
        Literal["auto", "batch_norm", "measured"], kdbench.Search(fixed=True, why="the teacher's layers decide it")
    ] = "auto"

    mismatch = VariationalInformation.mismatch

    def check(self, pair):
        """Also refuse a teacher without batch norm before its activations, where the margins are to come from there."""
        super().check(pair)
        if self.margins != "batch_norm":
            return
        for layer, measured in zip(self.teacher_layers, self._to_measure(pair), strict=True):
            if measured:
                self.refuse(
                    "the margins are to come from a batch norm before the activation, and there is none",
                    f"teacher {pair.teacher.name!r}, {layer!r}: {pair.teacher.path(layer)!r}",
                    f"--set {self.name}.margins=auto, or layers that an activation ends",
                )

    def _to_measure(self, pair):
        """Whether the margins of each of the teacher's layers cannot, or are not to, come from a batch norm."""
        if self.margins == "measured":
            return [True] * len(self.teacher_layers)
        from kdbench_features.margins import norms_before

        teacher, layers = pair.teacher, zip(self.teacher_layers, self.shapes(pair), strict=True)
        return [not norms_before(teacher.module, teacher.path(name), shape[0]) for name, (_, shape) in layers]

    def build(self, pair):
        """A regressor for each pair of layers, with the margins of the teacher's channels beside it."""
        from torch import nn

        from kdbench_features.margins import Partial, norm_margins

        teacher, layers, self._measured = pair.teacher, nn.ModuleList(), self._to_measure(pair)
        for name, measured, (one, other) in zip(self.teacher_layers, self._measured, self.shapes(pair), strict=True):
            margins = None if measured else norm_margins(teacher.module, teacher.path(name), other[0])
            layers.append(Partial(kdbench.projectors.regressor(one, other), margins, other))
        return layers

    def fit(self, trainer):
        """Measure the margins where they are not the batch norm's; train."""
        if any(self._measured):
            for batch in batches(trainer, 0):
                features = trainer.teacher_outputs(batch).features
                for layer, name, measured in zip(self.module, self.teacher_layers, self._measured, strict=True):
                    if measured:
                        layer.observe(features[name])
        super().fit(trainer)

    def terms(self, batch, number, student, teacher):
        """The partial distance of a layer."""
        share = self.weight * self.shallower ** (len(self.student_layers) - 1 - number)
        return {"ofd": share * self.module[number](student, teacher)}
