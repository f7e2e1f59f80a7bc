"""Sobolev training: the derivatives of the answer beside the answer."""

from typing import Annotated, Literal

import kdbench
from kdbench_features.geometry import flat
from kdbench_gradients.frame import BesideSoftTargets, slope


class Sobolev(BesideSoftTargets):
    """Sobolev training by random projections (Czarnecki et al., 2017, sec. 2).

    kd + weight · mean over items and projections of ‖∂⟨v, f_s(x)⟩/∂x − ∂⟨v, f_t(x)⟩/∂x‖², v uniform on the unit sphere
    of the classes and drawn anew for every item and step from the run's random stream. Times the number of classes its
    expectation is the squared Frobenius distance of the Jacobians. f are log-probabilities, probabilities or logits.
    The weight and the number of projections are ours; each projection is one more backward pass of both models. Nothing
    is normalised: at weight 1 a small network without batch norm may not train at lr .05.
    """

    name = "sobolev"
    needs = kdbench.needs(logits=True, input_grad=True)
    weight: Annotated[float, kdbench.Meta(ge=0)] = 0.1
    projections: Annotated[int, kdbench.Meta(ge=1)] = 1
    of: Literal["log_probabilities", "probabilities", "logits"] = "log_probabilities"

    def check(self, pair):
        """Refuse models that see different views."""
        self.check_shared_view(pair)

    def terms(self, batch, student, teacher):
        """The squared distance of the projected input gradients."""
        import torch
        from torch.nn.functional import normalize

        ours, theirs = self._answers(student.logits), self._answers(teacher.logits)
        total = 0.0
        for left in reversed(range(self.projections)):
            direction = normalize(torch.randn_like(theirs), dim=1)
            wanted = slope(theirs * direction, teacher.inputs, keep=left > 0)
            found = slope(ours * direction, student.inputs, learnt=True)
            total = total + flat(found - wanted).square().sum(1).mean()
        return {"sobolev": self.weight / self.projections * total}

    def _answers(self, logits):
        if self.of == "logits":
            return logits
        return logits.log_softmax(1) if self.of == "log_probabilities" else logits.softmax(1)
