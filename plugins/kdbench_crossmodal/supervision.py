"""Supervision transfer: the features of a modality that has labels teach those of one that has none."""

from typing import Annotated

import kdbench
from kdbench_features.layers import LayerPairs, Layers


class SupervisionTransfer(LayerPairs):
    """Cross-modal supervision transfer (Gupta et al., 2016, sec. 3).

    In the first `matching` of the training, weight · mean ‖r(f_s(x_student)) − f_t(x_teacher)‖² / D over paired inputs,
    labels not read: the student learns up to the chosen mid-level layers, and a linear map r where the shapes differ.
    Afterwards cross-entropy trains all of it on labels. The paper's fine-tune comes with a recipe of its own:
    matching=1 leaves all of it to the recipe's final fine-tune. Ours is that half of the training matches, so that the
    method has no more epochs than the others. The paper has no weight either: at 1 the gradients of both stages are of
    one order, as the optimizer's moments, which the second stage takes over from the first, want them.
    """

    name = "gupta"
    student_layers: Layers = ("middle",)
    teacher_layers: Layers = ("middle",)
    weight: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(0.01, 100, log=True)] = 1.0
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

    @property
    def learns_answers(self):
        """In its second stage, where there is one."""
        return self.matching < 1

    def build(self, pair):
        """A projector for each pair of layers."""
        from torch import nn

        return nn.ModuleList(kdbench.projectors.linear(*shapes) for shapes in self.shapes(pair))

    def may_choose(self, trainer):
        """In the second stage: accuracy stands still while features are matched."""
        return len(trainer.history) > self.matching * trainer.recipe.epochs

    def loss(self, batch, student, teacher):
        """The stage's term."""
        if batch.progress >= self.matching:
            return {"ce": batch.cross_entropy(student.logits)}
        return {name: value for name, value in super().loss(batch, student, teacher).items() if name != "ce"}

    def terms(self, batch, number, student, teacher):
        """The projected features' mean squared distance."""
        return {"match": self.weight * (self.module[number](student) - teacher).square().mean()}
