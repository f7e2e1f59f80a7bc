"""Boundary supporting samples: where the teacher changes its mind."""

from dataclasses import replace
from typing import Annotated

import kdbench


class BoundarySamples(kdbench.Method):
    """Knowledge distillation with adversarial samples supporting the decision boundary (Heo et al., 2019).

    CE + kd·T²·KL(t(x) ‖ s(x)) + weight·T²·KL(t(x′) ‖ s(x′)), the last a mean over the boundary samples x′ that were
    found: the paper's sec. "Knowledge distillation using BSS" (its sections have no numbers). Each item that both
    models classify rightly is moved by an attack on the teacher towards a class k, drawn by the teacher's probabilities
    of the other classes. With L = z_y − z_k, the teacher's logits, a step is −rate·(L + margin)·∇L / ‖∇L‖²: scaled to a
    linear boundary's distance, a little beyond. An item stops once L < 0 and is a boundary sample where k is then the
    teacher's answer. The weight falls linearly, to 0 after the share `until` of the training, and the attack ends with
    it.

    Weight 2 and T 3 are the paper's; kd, the attack's numbers and `until` are ours. `reach` bounds each coordinate's
    change, in standard deviations of the standardised input. Costs steps + 1 passes of the teacher.
    """

    needs = kdbench.needs(logits=True, differentiates=["teacher"])
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 3.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 2.0
    kd: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    until: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.75
    steps: Annotated[int, kdbench.Meta(ge=1)] = 10
    rate: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.5
    margin: Annotated[float, kdbench.Meta(gt=0)] = 0.1
    reach: Annotated[float, kdbench.Meta(gt=0)] = 1.0

    def check(self, pair):
        """Refuse models that see different views: the student could not see what the teacher was attacked with."""
        if not pair.shared_view:
            raise kdbench.MethodRefused(
                "method 'bss' cannot serve this pair: the models see different views",
                f"it moves inputs of teacher {pair.teacher.name!r}, which student {pair.student.name!r} has to see",
                "give both the same view: --set teacher_view=... --set student_view=...",
            )

    def step(self, trainer, batch):
        """Soft targets on the batch, and on what was found at the boundary."""
        target, ours = trainer.teacher_outputs(batch).logits, trainer.student_outputs(batch).logits
        fused = kdbench.kernels.kd_kl
        terms = {
            "ce": batch.cross_entropy(ours),
            "kd": self.kd * fused(ours, target, self.temperature),
            "bss": ours.new_zeros(()),
        }
        weight = self.weight * max(0.0, 1 - batch.progress / self.until)
        if weight:
            right = (target.argmax(1) == batch.labels) & (ours.argmax(1) == batch.labels)
            moved, theirs, found = self.boundary(trainer.teacher_logits, batch, target)
            share = (found & right).to(theirs.dtype)
            answers = trainer.student_outputs(replace(batch, inputs=moved)).logits
            share = share / share.mean().clamp_min(1 / len(share))
            terms["bss"] = weight * fused(answers, theirs, self.temperature, row_weight=share)
        return trainer.optimize(terms)

    def boundary(self, teacher, batch, target):
        """The batch towards the boundary (N, ...), the teacher's logits there, and which items are across it."""
        import torch

        start, label = batch.inputs, batch.labels[:, None]
        towards = torch.multinomial(target.scatter(1, label, -torch.inf).softmax(1), 1)
        at = start.detach()
        for _ in range(self.steps):
            at.requires_grad_()
            logits = teacher(at)
            gap = (logits.gather(1, label) - logits.gather(1, towards)).squeeze(1)
            (slope,) = torch.autograd.grad(gap.sum(), at)
            length = slope.flatten(1).square().sum(1).clamp_min(1e-12)
            pace = (self.rate * (gap.detach() + self.margin) / length).where(gap.detach() > 0, 0)
            move = pace.view(-1, *[1] * (slope.ndim - 1)) * slope
            at = start + (at.detach() - move - start).clamp(-self.reach, self.reach)
        with torch.no_grad():
            logits = teacher(at)
        return at.detach(), logits, logits.argmax(1) == towards.squeeze(1)
