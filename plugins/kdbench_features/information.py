"""Variational information distillation: the teacher's features as a Gaussian around the student's guess."""

import math
from typing import Annotated

import kdbench
from kdbench_features.layers import LayerPairs, Layers


class VariationalInformation(LayerPairs):
    """Variational information distillation (Ahn et al., 2019, sec. 2).

    CE + weight · Σ over layers of −log q(t | s) less its constant, q Gaussian with mean μ(s), the regressor of
    `kdbench.projectors`, and a learnt variance for each channel, σ² = min_variance + softplus(α):
    mean of ½ log σ² + (t − μ(s))² / 2σ² over items, channels and positions. The term may be negative.
    """

    name = "vid"
    normalizes = True
    student_layers: Layers = ("first", "middle", "last")
    teacher_layers: Layers = ("first", "middle", "last")
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    initial_variance: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 5.0
    min_variance: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 1e-5

    def mismatch(self, student, teacher):
        """Maps go to maps or vectors, vectors to vectors."""
        if (len(student), len(teacher)) in {(3, 3), (3, 1), (1, 1)}:
            return ""
        return "its regressor takes maps (C, H, W) to maps or vectors, and vectors (D,) to vectors"

    def check(self, pair):
        """Also refuse a smallest variance that leaves nothing to learn."""
        super().check(pair)
        if self.min_variance >= self.initial_variance:
            self.refuse(
                "min_variance is not below initial_variance",
                f"min_variance {self.min_variance}, initial_variance {self.initial_variance}",
                f"--set {self.name}.min_variance={self.initial_variance / 1e5:g}",
            )

    def build(self, pair):
        """A regressor and the α of each teacher channel, for each pair of layers."""
        import torch
        from torch import nn

        start, shapes = math.log(math.expm1(self.initial_variance - self.min_variance)), self.shapes(pair)
        alphas = [torch.full((teacher[0], *[1] * (len(teacher) - 1)), start) for _, teacher in shapes]
        return nn.ModuleDict(
            {
                "mean": nn.ModuleList(kdbench.projectors.regressor(*shape) for shape in shapes),
                "alpha": nn.ParameterList(alphas),
            }
        )

    def terms(self, batch, number, student, teacher):
        """The negative log-likelihood of the teacher's features."""
        from torch.nn.functional import softplus

        variance = self.min_variance + softplus(self.module["alpha"][number])
        squares = (teacher - self.module["mean"][number](student)).square()
        return {"vid": self.weight * 0.5 * (variance.log() + squares / variance).mean()}
