"""Distillation token by token: a divergence between the teacher's and the student's next-token distributions."""

from typing import Annotated

import kdbench


class TokenDistillation(kdbench.Method):
    """(1−α)·CE + α·a divergence, both means over the tokens that are not padding; a subclass chooses the divergence.

    An item of a classification task is a single token; of an answer's span each end is one, over the text's places.
    """

    needs = kdbench.needs(logits=True)
    tasks = (*kdbench.TOKEN_TASKS, "binary", "multiclass", "span-qa")
    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 1.0

    def loss(self, batch, student, teacher):
        """The divergence, and cross-entropy where it has a weight."""
        mask = batch.labels != -100
        terms = {"kd": self.alpha * self.divergence(student.logits, teacher.logits, mask)} if self.alpha else {}
        return {**terms, **({"ce": (1 - self.alpha) * batch.cross_entropy(student.logits)} if self.alpha < 1 else {})}

    def divergence(self, student, teacher, mask):
        """The mean divergence over tokens (N, L) that `mask` keeps, from logits (N, L, V); a scalar."""
        raise NotImplementedError(f"{type(self).__name__} defines no divergence()")


class WordLevel(TokenDistillation):
    """Word-level distillation (Kim & Rush, 2016, sec. 3.1): (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T).

    The paper's loss is the cross-entropy with the teacher at T = 1: the KL and a constant. α = 0.5 is our choice.
    """

    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.5
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 1.0

    def divergence(self, student, teacher, mask):
        """Forward KL."""
        return kdbench.kernels.kd_kl(student, teacher, self.temperature, mask=mask)


class ReverseKl(TokenDistillation):
    """MiniLLM's divergence, KL(p_s ‖ p_t), for every token of the data (Gu et al., 2024, eq. 1).

    The paper minimises it over what the student writes, with a policy gradient; here it is taken at the tokens of the
    data, without one. `gkd` with beta near 1 and on_policy=1 is nearer to it.
    """

    def divergence(self, student, teacher, mask):
        """Reverse KL."""
        return kdbench.kernels.kd_divergence(student, teacher, kind="reverse_kl", mask=mask)


class SkewKl(TokenDistillation):
    """DistiLLM's skew KL (Ko et al., 2024, sec. 3.1): KL(p_t ‖ λ·p_t + (1−λ)·p_s), its `skew` λ = 0.1.

    reverse=True is the skew reverse KL, KL(p_s ‖ (1−λ)·p_t + λ·p_s). Its adaptive use of student-written text is not
    part of it.
    """

    skew: Annotated[float, kdbench.Meta(gt=0, lt=1)] = 0.1
    reverse: bool = False

    def divergence(self, student, teacher, mask):
        """Skew KL, or skew reverse KL."""
        kind = "skew_reverse_kl" if self.reverse else "skew_kl"
        return kdbench.kernels.kd_divergence(student, teacher, kind=kind, beta=self.skew, mask=mask)
