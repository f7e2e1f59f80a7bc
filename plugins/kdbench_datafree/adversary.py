"""A generator against the student."""

from typing import Annotated, ClassVar

import kdbench
from kdbench_datafree.frame import DataFree
from kdbench_features.geometry import flat, same_size, unit


class ZeroShotTransfer(DataFree):
    """Zero-shot knowledge transfer by adversarial belief matching (Micaelli & Storkey, 2019, sec. 3, algorithm 1).

    The generator minimises −KL(p_t ‖ p_s); the student KL(p_t ‖ p_s) + attention · Σ over layers of
    mean (Q_s/‖Q_s‖ − Q_t/‖Q_t‖)², Q the mean over channels of the squared map (Zagoruyko & Komodakis, 2017). Layers
    that are not maps on both sides have no attention term.

    Noise is drawn once for a step of the generator and the student's that follow, all on the same items. Defaults:
    attention 250, one step of the generator to ten of the student, Adam at 1e-3 for the generator, as in the
    paper (times the cosine of the progress; the student has the recipe's optimiser). So a student takes ten times the
    recipe's steps: --set zskt.student_steps=1 for as many as other methods.
    """

    name: ClassVar[str] = "zskt"
    one_noise: ClassVar[bool] = True
    layers: tuple[str, ...] = ("first", "middle", "last")
    attention: Annotated[float, kdbench.Meta(ge=0)] = 250.0
    student_steps: Annotated[int, kdbench.Meta(ge=1)] = 10

    @property
    def needs(self):
        """Logits and layers of both, and gradients that reach the generator through both."""
        return kdbench.needs(logits=True, features=self.layers, input_grad=True)

    def generator_loss(self, trainer, made):
        """Minus the divergence."""
        student, teacher = trainer.student_outputs(made), trainer.teacher_outputs(made)
        return {"generator": -kdbench.kernels.kd_kl(student.logits, teacher.logits)}

    def student_loss(self, student, teacher):
        """The divergence, and the attention of the layers that are maps."""
        terms = {"kl": kdbench.kernels.kd_kl(student.logits, teacher.logits)}
        pairs = [(student.features[layer], teacher.features[layer]) for layer in self.layers]
        maps = [pair for pair in pairs if pair[0].ndim == pair[1].ndim == 4]
        if maps:
            terms["attention"] = self.attention * sum(_attention_distance(*pair) for pair in maps)
        return terms


def _attention_distance(student, teacher):
    one, other = same_size(*(maps.square().mean(1, keepdim=True) for maps in (student, teacher)))
    return (unit(flat(one)) - unit(flat(other))).square().mean()
