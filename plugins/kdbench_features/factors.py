"""Factor transfer: a paraphrase of the teacher's maps, learnt beforehand, for the student to translate into."""

from typing import Annotated

import kdbench
from kdbench_features.geometry import flat, same_size, unit
from kdbench_features.layers import LayerPairs, Layers
from kdbench_features.memory import Memory
from kdbench_features.passes import batches


class FactorTransfer(LayerPairs):
    """Factor transfer (Kim et al., 2018, sec. 3), with p = 1.

    First a paraphraser, a convolutional autoencoder of the teacher's maps with rate · C channels in its middle, learns
    to reconstruct them: mean (P(f_t) − f_t)², without labels, by Adam. Then it is frozen, and the student trains with a
    translator beside it: CE + weight · Σ over layers of mean |F_t/‖F_t‖ − F_s/‖F_s‖|, F_t the paraphraser's middle and
    F_s what the translator makes of f_s, norms over the whole factor of an item. Factors of different size are averaged
    down to the smaller. `paraphraser_epochs` come on top of the recipe's. Without augmentation an item's F_t is the
    same in every epoch: it is kept in memory, on the device, where that of all items takes at most `memory.MOST_BYTES`.
    """

    name = "ft"
    maps = True
    normalizes = normalizes_student = True
    student_layers: Layers = ("last",)
    teacher_layers: Layers = ("last",)
    weight: Annotated[float, kdbench.Meta(ge=0)] = 200.0
    rate: Annotated[float, kdbench.Meta(gt=0, le=1), kdbench.Search(0.25, 1)] = 0.5
    paraphraser_epochs: Annotated[int, kdbench.Meta(ge=1), kdbench.Search(fixed=True)] = 30
    paraphraser_lr: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(fixed=True)] = 1e-3

    def build(self, pair):
        """A paraphraser and a translator for each pair of layers; what is remembered of factors begins empty."""
        from torch import nn

        from kdbench_features.paraphraser import Factors

        self._memory = Memory(pair.dataset.train_size)
        return nn.ModuleList(
            Factors(one[0], other[0], max(1, round(self.rate * other[0]))) for one, other in self.shapes(pair)
        )

    def optimizers(self, pair):
        """The paraphrasers are trained before the student, and by themselves."""
        from torch.optim import Adam

        parameters = [parameter for factors in self.module for parameter in factors.paraphraser.parameters()]
        return {"paraphraser": Adam(parameters, self.paraphraser_lr)}

    def fit(self, trainer):
        """Train the paraphrasers and freeze them; then train the student."""
        self.module.train()
        for epoch in range(self.paraphraser_epochs):
            for batch in batches(trainer, epoch):
                self._paraphrase(trainer, batch)
        for factors in self.module:
            factors.paraphraser.freeze()
        super().fit(trainer)

    def _paraphrase(self, trainer, batch):
        optimizer, features = trainer.method_optimizers["paraphraser"], trainer.teacher_outputs(batch).features
        pairs = zip(self.module, self.teacher_layers, strict=True)
        loss = sum((factors.paraphraser.rebuilt(features[name]) - features[name]).square().mean()
                   for factors, name in pairs)  # fmt: skip
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def step(self, trainer, batch):
        """One step of the student; the teacher and its paraphrasers run where an item is seen for the first time."""
        student = trainer.student_outputs(batch)
        if trainer.recipe.augment:
            return trainer.optimize(self.loss(batch, student, trainer.teacher_outputs(batch)))

        def paraphrased():
            pairs = self.paired(student, trainer.teacher_outputs(batch))
            return [self.module[number].paraphraser(maps) for number, (_, maps) in enumerate(pairs)]

        factors = self._memory.recalled(batch.index, paraphrased)
        found = [self._gap(number, student.features[name], factors[number])
                 for number, name in enumerate(self.student_layers)]  # fmt: skip
        return trainer.optimize({"ce": batch.cross_entropy(student.logits), "ft": sum(found)})

    def terms(self, batch, number, student, teacher):
        """The mean absolute difference of the factors at unit length."""
        return {"ft": self._gap(number, student, self.module[number].paraphraser(teacher))}

    def _gap(self, number, student, factors):
        one, other = same_size(self.module[number].translator(student), factors)
        return self.weight * (unit(flat(one)) - unit(flat(other))).abs().mean()
