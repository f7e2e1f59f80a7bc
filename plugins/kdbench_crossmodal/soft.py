"""Soft labels across modalities or languages, on pairs that need no labels."""

from typing import Annotated

import kdbench


class CrossSoft(kdbench.Method):
    """The teacher's soft labels of one view teach a student of the other (Aytar et al., 2016, sec. 3).

    weight · T²·KL(p_t(x_teacher)^T ‖ p_s(x_student)^T) over every pair, batch mean. The paper has T = 1; 4 is that of
    `kd`. Labels of the train split are not read, but for a share `labelled` of its items, the same ones in every run:
    on these the cross-entropy is added, its batch sum divided by labelled · batch size, so that it is their mean on
    average. weight=0 is then plain training on as few labels. Validation, which chooses the checkpoint, has its labels.
    """

    needs = kdbench.needs(logits=True)
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    labelled: Annotated[
        float, kdbench.Meta(ge=0, le=1), kdbench.Search(fixed=True, why="it says how many labels there are")
    ] = 0.0

    def check(self, pair):
        """Refuse to learn from neither labels nor the teacher, and a share of labels that is not one item."""
        labels = round(self.labelled * pair.dataset.train_size)
        if self.labelled and not labels:
            raise kdbench.MethodRefused(
                "method 'cross_soft' cannot serve this pair: the share of labelled items is less than one item",
                f"labelled is {self.labelled} of {pair.dataset.train_size} items",
                f"--set cross_soft.labelled={max(0.01, 1 / pair.dataset.train_size):.2g}, or 0 for none",
            )
        if self.weight == 0 and not labels:
            raise kdbench.MethodRefused(
                "method 'cross_soft' has nothing to learn from",
                f"weight is 0, and labelled is {self.labelled} of {pair.dataset.train_size} items",
                "--set cross_soft.weight=1, or --set cross_soft.labelled=0.1",
            )

    def build(self, pair):
        """Which of the train items are labelled, as a buffer that moves with the model."""
        import torch

        items = pair.dataset.train_size
        order = torch.randperm(items, generator=torch.Generator().manual_seed(0))
        module = torch.nn.Module()
        module.register_buffer("has_label", order < round(self.labelled * items))
        return module

    def loss(self, batch, student, teacher):
        """The soft-label term, and cross-entropy on what is labelled."""
        kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature)
        terms = {"kd": self.weight * kd}
        if self.labelled:
            terms["ce"] = self._labelled(batch, student.logits)
        return terms

    def _labelled(self, batch, logits):
        from torch.nn.functional import cross_entropy

        known = self.module.has_label
        chosen = known[batch.index]
        each = cross_entropy(logits, batch.labels, reduction="none").masked_fill(~chosen, 0)
        return each.mean() * (len(known) / known.sum())
