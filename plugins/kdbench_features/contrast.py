"""Contrastive representation distillation: an item's two views against those of other items."""

import math
from typing import Annotated, Literal

import kdbench
from kdbench_features.layers import LayerPairs


class ContrastiveRepresentation(LayerPairs):
    """Contrastive representation distillation (Tian et al., 2020, sec. 3, eq. 18-19).

    CE + weight · the critic's loss in both directions (student against teacher embeddings and the reverse): batch mean
    of −log h(positive) − Σ over negatives of log(1 − h(negative)), h = e^x / (e^x + N·z). x is the dot product of
    linear embeddings at unit length over τ, N the number of the item's negatives, z the mean of e^x between random
    directions: the paper's N/M times the constant Z = M·z that noise-contrastive estimation divides by (Wu et al.,
    2018), which is usually read off a random bank. Negatives are items of another class; an item that has none adds
    nothing.

    pool="bank" draws them from a memory of every training item's embeddings, kept by `batch.index` as running averages
    (`momentum` of the old one), random where not seen yet: all of them, or `negatives` drawn anew for each batch where
    there are more. It takes 2 · items · size floats. pool="batch" takes the batch's other items, with gradient.
    """

    tasks = ("binary", "multiclass")
    name = "crd"
    weight: Annotated[float, kdbench.Meta(ge=0)] = 0.8
    temperature: Annotated[float, kdbench.Meta(ge=0.01), kdbench.Search(0.02, 0.5, log=True)] = 0.07
    size: Annotated[int, kdbench.Meta(ge=1), kdbench.Search(fixed=True)] = 128
    pool: Annotated[Literal["bank", "batch"], kdbench.Search(fixed=True)] = "bank"
    negatives: Annotated[int, kdbench.Meta(ge=1), kdbench.Search(fixed=True, when=("pool", "bank"))] = 16384
    momentum: Annotated[float, kdbench.Meta(ge=0, lt=1), kdbench.Search(0, 0.9, when=("pool", "bank"))] = 0.5

    @property
    def relational(self):
        """In-batch negatives need a batch of several items."""
        return self.pool == "batch"

    def build(self, pair):
        """The embeddings of each pair of layers, with their bank."""
        from torch import nn

        from kdbench_features.bank import Embedding

        items = pair.dataset.train_size if self.pool == "bank" else 0
        return nn.ModuleList(Embedding(*shapes, self.size, items) for shapes in self.shapes(pair))

    def terms(self, batch, number, student, teacher):
        """Both directions of the critic's loss."""
        embedding = self.module[number]
        embedding.latest = one, other = embedding(student, teacher)
        labels, ones, others = batch.labels, one, other
        if self.pool == "bank":
            labels, ones, others = embedding.drawn(self.negatives)
        scores = [anchors @ pool.T / self.temperature for anchors, pool in ((one, others), (other, ones))]
        negative = batch.labels[:, None] != labels
        noise = negative.sum(1).clamp_min(1).log() + self._log_z()
        positive = (one * other).sum(1) / self.temperature
        contrast = sum(_critic(positive, each, noise, negative) for each in scores)
        return {"crd": self.weight * contrast}

    def _log_z(self):
        """The log of the mean of e^(u/τ), u a coordinate of a uniform direction in `size` dimensions."""
        from scipy.special import hyp0f1

        return math.log(hyp0f1(self.size / 2, 0.25 / self.temperature**2))

    def step(self, trainer, batch):
        """One step; then the bank takes in the batch's embeddings."""
        logged = super().step(trainer, batch)
        if self.pool == "bank":
            for embedding in self.module:
                embedding.keep(batch, self.momentum)
        return logged


def _critic(positive, scores, noise, negative):
    """Batch mean of −log h(positive) − Σ log(1 − h(negative)), h = sigmoid(score − noise)."""
    from torch.nn.functional import logsigmoid

    wrong = logsigmoid(noise[:, None] - scores).masked_fill(~negative, 0).sum(1)
    return -(wrong + logsigmoid(positive - noise)).masked_fill(~negative.any(1), 0).mean()
