"""A student that says of two languages what its teacher says of one."""

from dataclasses import replace
from typing import Annotated

import kdbench


class Multilingual(kdbench.Method):
    """Multilingual knowledge distillation (Reimers & Gurevych, 2020, sec. 2).

    ce · CE(target) + weight · (MSE(t(source), s(source)) + MSE(t(source), s(target))), t and s the embeddings of the
    teacher's and the student's chosen layers, means over items and dimensions. The source is the teacher's view, the
    target the student's: the student reads both, so their items must have one shape. Where the embeddings differ in
    size the student's are mapped linearly (the paper's are of one size). The paper trains embeddings alone: ce=0, with
    the recipe's final fine-tune for the classifier. Its recipe is Adam with lr 2e-5, batches of 64.
    """

    student_layer: str = "penultimate"
    teacher_layer: str = "penultimate"
    weight: Annotated[float, kdbench.Meta(gt=0)] = 1.0
    ce: Annotated[float, kdbench.Meta(ge=0)] = 1.0

    @property
    def needs(self):
        """An embedding of each model."""
        return kdbench.needs(student_features=[self.student_layer], teacher_features=[self.teacher_layer])

    @property
    def learns_answers(self):
        """By cross-entropy alone."""
        return self.ce > 0

    def check(self, pair):
        """Refuse views that one model cannot read, and features that are no vectors."""
        target, source = pair.dataset, pair.teacher_dataset or pair.dataset
        if source.input_shape != target.input_shape:
            raise kdbench.MethodRefused(
                "method 'multilingual' cannot serve this pair: the student has to read the teacher's view too",
                f"items of view {source.view!r} have shape {source.input_shape}, of view {target.view!r} "
                f"{target.input_shape}",
                "choose views of one shape with --set teacher_view=... --set student_view=..., or method gupta",
            )
        student, teacher = self._shapes(pair)
        if len(student) != 1 or len(teacher) != 1:
            raise kdbench.MethodRefused(
                "method 'multilingual' cannot serve this pair: it needs an embedding, a vector, of each model",
                f"{self.student_layer!r} of {pair.student.name!r} has shape {student}, "
                f"{self.teacher_layer!r} of {pair.teacher.name!r} {teacher}",
                "--set multilingual.student_layer=penultimate --set multilingual.teacher_layer=penultimate",
            )

    def _shapes(self, pair):
        return pair.student.features[self.student_layer], pair.teacher.features[self.teacher_layer]

    def build(self, pair):
        """The linear map to the teacher's size; nothing where the sizes are the same."""
        return kdbench.projectors.linear(*self._shapes(pair))

    def step(self, trainer, batch):
        """One step on both languages; where there is one view alone, its pass serves for both."""
        target = source = trainer.student_outputs(batch)
        if batch.teacher_inputs is not batch.inputs:
            source = trainer.student_outputs(replace(batch, inputs=batch.teacher_inputs))
        return trainer.optimize(self.terms(batch, target, source, trainer.teacher_outputs(batch)))

    def terms(self, batch, target, source, teacher):
        """The weighted terms from the student's outputs on target and source, and the teacher's on the source."""
        wanted = teacher.features[self.teacher_layer]
        terms = {"ce": self.ce * batch.cross_entropy(target.logits)} if self.ce else {}
        for name, outputs in (("source", source), ("target", target)):
            gap = self.module(outputs.features[self.student_layer]) - wanted
            terms[name] = self.weight * gap.square().mean()
        return terms
