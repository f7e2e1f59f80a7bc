"""Supervision transfer: the features of a modality that has labels teach those of one that has none."""

from typing import Annotated

import kdbench
from kdbench_features.layers import LayerPairs, Layers


class SupervisionTransfer(LayerPairs):
    """Cross-modal supervision transfer (Gupta et al., 2016, sec. 3).

    In the first `matching` of the training, weight · mean ‖r(f_s(x_student)) − f_t(x_teacher)‖² / D over paired inputs,
    labels not read: the student learns up to the chosen mid-level layers, and a projector r where the shapes need it
    (a linear layer or a 1×1 convolution, with batch norm). Afterwards cross-entropy trains all of it on labels. The
    paper's fine-tune comes with a recipe of its own: matching=1 leaves all of it to the recipe's final fine-tune. Ours
    is that half of the training matches, so that the method has no more epochs than the others; the weight is that of
    `fitnet`.
    """

    name = "gupta"
    normalizes = True
    parallel_fit = True
    student_layers: Layers = ("middle",)
    teacher_layers: Layers = ("middle",)
    weight: Annotated[float, kdbench.Meta(gt=0)] = 100.0
    matching: Annotated[float, kdbench.Meta(ge=0, le=1), kdbench.Search(0.01, 1)] = 0.5

    def __init__(self, **params):
        super().__init__(**params)
        if self.matching == 0:
            raise kdbench.InvalidParameter(
                "SupervisionTransfer: with matching=0 nothing is matched",
                "no layer and no weight would count: it would be scratch under another name",
                "set matching above 0, or use method scratch",
            )

    def mismatch(self, student, teacher):
        """Maps go to maps or vectors, vectors to vectors."""
        if (len(student), len(teacher)) in {(3, 3), (3, 1), (1, 1)}:
            return ""
        return "features of these shapes cannot be projected onto each other"

    def check(self, pair):
        """Refuse matching alone where nothing trains the classifier afterwards."""
        super().check(pair)
        if self.matching == 1 and not pair.recipe.finetune_epochs:
            self.refuse(
                "its classifier would never be trained",
                "matching is 1, and the recipe has no final fine-tune",
                "--set recipe.finetune_epochs=20, or --set gupta.matching=0.5",
            )

    def build(self, pair):
        """A projector for each pair of layers."""
        from torch import nn

        return nn.ModuleList(kdbench.projectors.regressor(*shapes) for shapes in self.shapes(pair))

    def fit(self, trainer):
        """Both stages; matching alone is scored at its end, for an untrained classifier tells no epoch from another."""
        from msgspec.structs import replace

        if self.matching == 1:
            trainer.recipe = replace(trainer.recipe, select="last")
        trainer.recipe = replace(trainer.recipe, patience=None)  # accuracy stands still while features are matched
        trainer.run_epochs()

    def loss(self, batch, student, teacher):
        """The stage's term."""
        if batch.progress >= self.matching:
            return {"ce": batch.cross_entropy(student.logits)}
        return {name: value for name, value in super().loss(batch, student, teacher).items() if name != "ce"}

    def terms(self, batch, number, student, teacher):
        """The projected features' mean squared distance."""
        return {"match": self.weight * (self.module[number](student) - teacher).square().mean()}
