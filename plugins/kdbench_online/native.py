"""A student of several branches, which learn from what they say together."""

from __future__ import annotations

from typing import Annotated

import kdbench


class NativeEnsemble(kdbench.Method):
    """On-the-fly native ensemble (Lan et al., 2018, ONE, sec. 3.1), without a teacher.

    Σ_i CE(z_i) + CE(z_e) + T² · Σ_i KL(p_e^T ‖ p_i^T) over the student's own end and `branches` more of the same
    architecture, which all begin at its layer `fork`; z_e = Σ_i g_i·z_i, g the softmax of a gate of the feature there:
    average pooling, linear layer, batch norm, ReLU. p_e is taken as given in the divergence, our reading. Branches and
    gate are trained with the student and dropped at the end: the student alone is scored, as the paper's "ONE".

    Serves students that tell their end after a layer: `tail(path)` returns the module from what the module at `path`
    outputs to the logits, as that of every staged model of kdbench_models does.

    Defaults: two more branches and T 3, the paper's; the fork at the middle stage is ours (the paper's is before the
    last block of layers).
    """

    fork: str = "middle"
    branches: Annotated[int, kdbench.Meta(ge=1), kdbench.Search(fixed=True)] = 2
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 3.0
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    @property
    def needs(self):
        """The feature that the branches begin at."""
        return kdbench.needs(student_features=[self.fork])

    def check(self, pair):
        """Refuse students that do not tell their end, a fork with nothing after it, and batches of one."""
        student, feature = pair.student, pair.student.features[self.fork]
        if not callable(getattr(student.module, "tail", None)):
            what, why = "its student has to tell its end after a layer", f"{student.name!r} has no method tail(path)"
        elif student.module.tail(student.path(self.fork)) is None:
            what, why = f"nothing can fork at {self.fork!r}", f"of student {student.name!r} it is no stage"
        elif len(feature) not in {1, 3}:
            what, why = "its gate takes maps (C, H, W) or vectors", f"{self.fork!r} has shape {feature}"
        elif pair.batch_size == 1:
            what, why = "its gate has batch norm, and a batch has one item", "batches of one"
        else:
            return
        raise kdbench.MethodRefused(
            f"method 'one' cannot serve this pair: {what}", why,
            "choose another student, another layer with --set one.fork=..., or --set recipe.batch_size=64",
        )  # fmt: skip

    def build(self, pair):
        """The further branches, each with initial weights of its own, and the gate."""
        from torch import nn

        path = pair.student.path(self.fork)
        tails = [pair.new_model("student", "branch", number).module.tail(path) for number in range(self.branches)]
        (channels, *size), count = pair.student.features[self.fork], 1 + self.branches
        gate = nn.Sequential(nn.Linear(channels, count), nn.BatchNorm1d(count), nn.ReLU(), nn.Softmax(1))
        if size:
            gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *gate)
        return nn.ModuleDict({"branches": nn.ModuleList(tails), "gate": gate})

    def loss(self, batch, student, teacher):
        """The student's terms, and those of the branches and the ensemble."""
        import torch

        shared = student.features[self.fork]
        logits = torch.stack([student.logits, *(branch(shared) for branch in self.module["branches"])])
        ensemble = torch.einsum("nb,bnc->nc", self.module["gate"](shared), logits)
        errors = [batch.cross_entropy(each) for each in logits]
        rows = kdbench.kernels.kd_kl(logits, ensemble.detach().expand(logits.shape), self.temperature, reduction="none")
        kl = self.weight * rows.mean(1)
        return {
            "ce": errors[0], "kl": kl[0], "branches_ce": sum(errors[1:]), "branches_kl": kl[1:].sum(),
            "ensemble_ce": batch.cross_entropy(ensemble),
        }  # fmt: skip
