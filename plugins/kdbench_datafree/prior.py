"""A generator with the teacher as its discriminator."""

from typing import Annotated, ClassVar

import kdbench
from kdbench_datafree.frame import DataFree


class DataFreeLearning(DataFree):
    """Data-free learning of student networks (Chen et al., 2019, sec. 3).

    The generator minimises one_hot·CE(p_t, argmax p_t) − entropy·H(mean p_t) − activation·mean |f_t|, of the teacher's
    probabilities p_t and the vectors f_t that its classifier reads; the means are over the batch. H is in decimal
    digits, as in the authors' code, whose weights are for that. The student minimises KL(p_t ‖ p_s), which the
    generator does not see (in the authors' code it does).

    Defaults: one_hot 1, entropy 5, activation .1, those of the authors' code (for MNIST; public CIFAR configurations
    have .05, 5, .01, with which in short trainings the entropy prevails, and the teacher stays unsure of what is made).
    Adam at `generator_lr` 1e-3 times the cosine of the progress is kdbench's choice.
    """

    name: ClassVar[str] = "dafl"
    one_hot: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    entropy: Annotated[float, kdbench.Meta(ge=0)] = 5.0
    activation: Annotated[float, kdbench.Meta(ge=0)] = 0.1

    needs = kdbench.needs(logits=True, teacher_features=["penultimate"], input_grad=True, differentiates=["teacher"])

    def generator_loss(self, trainer, made):
        """How unsure the teacher is, how uneven over the classes, and how little it is excited."""
        from torch.nn.functional import cross_entropy

        teacher = trainer.teacher_outputs(made)
        even = teacher.logits.softmax(1).mean(0)
        return {
            "one_hot": self.one_hot * cross_entropy(teacher.logits, teacher.logits.detach().argmax(1)),
            "entropy": self.entropy * (even * even.clamp_min(1e-12).log10()).sum(),
            "activation": -self.activation * teacher.features["penultimate"].abs().mean(),
        }

    def student_loss(self, student, teacher):
        """The divergence."""
        return {"kl": kdbench.kernels.kd_kl(student.logits, teacher.logits)}
