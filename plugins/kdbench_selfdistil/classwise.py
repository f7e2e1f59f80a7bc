"""Items of one class answer for each other."""

from dataclasses import replace
from typing import Annotated

import kdbench


class ClasswiseSelfKD(kdbench.Method):
    """Class-wise self-distillation (Yun et al., 2020, sec. 2): CE(x) + weight · T² · KL(p^T(x′) ‖ p^T(x)).

    x′ is another training item of x's class, drawn anew for every item and epoch; the student's answers to it are taken
    as given, from a second forward pass in training mode. An item that is alone in its class has itself as x′.

    Defaults: T 4 and weight 1, as in the paper.
    """

    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    _epoch: int = -1

    def step(self, trainer, batch):
        """One step; the partners of all items are drawn once an epoch, whatever the number of processes."""
        import torch

        if batch.epoch != self._epoch:
            self._epoch = batch.epoch
            self._stream = trainer.generator("augmented partners", batch.epoch)
            self._partners = partners(trainer.train_data.labels, trainer.generator("partners", batch.epoch))
        inputs = trainer.train_data.student[self._partners[batch.index]]
        if trainer.augment is not None:
            inputs = trainer.augment(inputs, self._stream)
        with torch.no_grad():
            other = trainer.student_outputs(replace(batch, inputs=inputs))
        return trainer.optimize(self.loss(batch, trainer.student_outputs(batch), other))

    def loss(self, batch, student, teacher):
        """Cross-entropy and the divergence from the partners' answers, which stand in the teacher's place."""
        kd = kdbench.kernels.kd_kl(student.logits, teacher.logits, self.temperature)
        return {"ce": batch.cross_entropy(student.logits), "class_kd": self.weight * kd}


def partners(labels, stream):
    """For every item the position of another item of its class, uniformly; of itself where there is none.

    Args:
        labels: class indices, shape (N,).
        stream: a CPU generator; N numbers are drawn.

    Returns: int64, shape (N,), on the labels' device.
    """
    import torch

    order = labels.argsort(stable=True)
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    place = torch.empty_like(order)
    place[order] = torch.arange(len(labels), device=labels.device)
    own, others = place - starts[labels], counts[labels] - 1
    drawn = torch.rand(len(labels), generator=stream, dtype=torch.float64).to(labels.device)
    other = (drawn * others).long()
    other = other + (other >= own).long() * (others > 0)
    return order[starts[labels] + other]
