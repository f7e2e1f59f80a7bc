"""The overhaul of feature distillation: what the teacher's next activation lets through, and how far below zero."""

from typing import Annotated, Literal

import kdbench
from kdbench_features.information import VariationalInformation
from kdbench_features.layers import LayerPairs, Layers
from kdbench_features.passes import batches


class Overhaul(LayerPairs):
    """Overhauled distillation (Heo et al., 2019, ICCV, sec. 3): CE + weight · Σ over layers of D(max(t, m), r(s)).

    s and t are features before the activation; m, one for each of the teacher's channels, is what is expected of its
    negative values; r is the `kdbench.projectors` regressor of the student's to the teacher's shape. The partial
    distance D(t, s) is the sum of (t − s)² except where s ≤ t ≤ 0, on average over items. A layer counts `shallower`
    times as much as the next deeper, as in the authors' configurations.

    m is E[x | x < 0] for normal x with the mean and deviation that the teacher's last batch norm before the activation
    gives; those of a residual sum's branches add up. `margins="measured"` takes the mean of the negative values on the
    training items instead, and needs no batch norm. The paper has the teacher normalise by the batch; here it is used
    as it is evaluated.
    """

    name = "ofd"
    normalizes = True
    parallel_fit = True  # its fit measures, in each process, the same margins of all items
    student_layers: Layers = ("first:pre", "middle:pre", "last:pre")
    teacher_layers: Layers = ("first:pre", "middle:pre", "last:pre")
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1e-3
    shallower: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.5
    margins: Literal["batch_norm", "measured"] = "batch_norm"

    mismatch = VariationalInformation.mismatch

    def check(self, pair):
        """Also refuse a teacher without batch norm before its activations, where the margins come from there."""
        super().check(pair)
        if self.margins == "measured":
            return
        from kdbench_features.margins import norms_before

        for layer, (_, shape) in zip(self.teacher_layers, self.shapes(pair), strict=True):
            if not norms_before(pair.teacher.module, pair.teacher.path(layer), shape[0]):
                self.refuse(
                    "the margins come from a batch norm before the activation, and there is none",
                    f"teacher {pair.teacher.name!r}, {layer!r}: {pair.teacher.path(layer)!r}",
                    f"--set {self.name}.margins=measured, or layers that an activation ends",
                )

    def build(self, pair):
        """A regressor for each pair of layers, with the margins of the teacher's channels beside it."""
        from torch import nn

        from kdbench_features.margins import Partial, norm_margins

        teacher, layers = pair.teacher, nn.ModuleList()
        for name, (one, other) in zip(self.teacher_layers, self.shapes(pair), strict=True):
            measured = self.margins == "measured"
            margins = None if measured else norm_margins(teacher.module, teacher.path(name), other[0])
            layers.append(Partial(kdbench.projectors.regressor(one, other), margins, other))
        return layers

    def fit(self, trainer):
        """Measure the margins where they are not the batch norm's; train."""
        if self.margins == "measured":
            for batch in batches(trainer, 0):
                features = trainer.teacher_outputs(batch).features
                for layer, name in zip(self.module, self.teacher_layers, strict=True):
                    layer.observe(features[name])
        super().fit(trainer)

    def terms(self, batch, number, student, teacher):
        """The partial distance of a layer."""
        share = self.weight * self.shallower ** (len(self.student_layers) - 1 - number)
        return {"ofd": share * self.module[number](student, teacher)}
