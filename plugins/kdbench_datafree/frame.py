"""What methods without data share: a generator, its optimiser, and batches made of noise."""

from dataclasses import replace
from typing import Annotated, ClassVar

import kdbench


class DataFree(kdbench.Method):
    """The student learns on what a generator makes; no training input or label is read, only how many a batch has.

    A subclass writes `generator_loss` and `student_loss`. The generator has Adam to itself, at `generator_lr` times the
    cosine of the progress; the student has the recipe's optimiser. One step of the recipe is `generator_steps` of the
    generator and then `student_steps` of the student: each on new noise or, where the subclass has `one_noise`, all on
    the same, the student's on what the generator makes of it after its own. Which epoch is scored is chosen on the real
    validation split where the recipe says so: `--set recipe.select=last` does without that too.
    """

    name: ClassVar[str]
    one_noise: ClassVar[bool] = False
    generator_lr: Annotated[float, kdbench.Meta(gt=0), kdbench.Search(1e-5, 1e-2, log=True)] = 1e-3
    generator_steps: Annotated[int, kdbench.Meta(ge=1)] = 1
    student_steps: Annotated[int, kdbench.Meta(ge=1)] = 1

    def check(self, pair):
        """Refuse models that see different views, and batches of one."""
        if not pair.shared_view:
            self.refuse(
                "the two models see different views, and a made-up item has one",
                f"student {pair.student.name!r} sees {pair.dataset.view!r}",
                "choose one view for both: leave teacher_view and student_view out",
            )
        if pair.steps_per_epoch >= pair.dataset.train_size > 1:
            self.refuse(
                "its generator has batch norm, and a batch has one item",
                f"{pair.dataset.train_size} items in {pair.steps_per_epoch} steps",
                "use larger batches: --set recipe.batch_size=64",
            )

    def refuse(self, what, why, fix):
        """Raise MethodRefused under the method's name."""
        raise kdbench.MethodRefused(f"method {self.name!r} cannot serve this pair: {what}", why, fix)

    def build(self, pair):
        """The generator."""
        from kdbench_datafree.generator import generator

        self._noise = None
        return generator(pair.dataset.input_shape)

    def optimizers(self, pair):
        """The generator's Adam."""
        from torch.optim import Adam

        return {"generator": Adam(self.module.parameters(), self.generator_lr)}

    def step(self, trainer, batch):
        """The generator's steps and the student's; the last of each are logged."""
        noise = self.noise(trainer, batch) if self.one_noise else None
        for _ in range(self.generator_steps):
            terms = self.generator_step(trainer, batch, noise)
        for number in range(self.student_steps):
            if number == 0 or not self.one_noise:
                made, teacher = self.lesson(trainer, batch, noise)
            learnt = trainer.optimize(self.student_loss(trainer.student_outputs(made), teacher))
        return {**learnt, **terms}

    def generator_step(self, trainer, batch, noise=None):
        """One step of the generator; its terms, detached."""
        import math

        optimizer = trainer.method_optimizers["generator"]
        for group in optimizer.param_groups:
            group["lr"] = self.generator_lr * 0.5 * (1 + math.cos(math.pi * batch.progress))
        terms = self.generator_loss(trainer, self.generate(trainer, batch, noise))
        optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward(inputs=list(self.module.parameters()))
        optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def lesson(self, trainer, batch, noise=None):
        """What the generator makes, and what the teacher says of it; without gradient."""
        import torch

        with torch.no_grad():
            made = self.generate(trainer, batch, noise)
            return made, trainer.teacher_outputs(made)

    def noise(self, trainer, batch):
        """Noise (N, 100) for as many items as the batch has."""
        import torch

        from kdbench_datafree.generator import NOISE

        if self._noise is None:  # every process of a run makes items of its own
            self._noise = trainer.generator("noise", trainer.peers.rank)
        return torch.randn(len(batch.labels), NOISE, generator=self._noise).to(trainer.fabric.device)

    def generate(self, trainer, batch, noise=None):
        """A batch made of noise, new where none is given; its labels and index mean nothing and are 0."""
        import torch

        items = self.module(self.noise(trainer, batch) if noise is None else noise)
        nothing = torch.zeros(len(items), dtype=torch.int64, device=items.device)
        return replace(batch, inputs=items, teacher_inputs=items, labels=nothing, index=nothing)

    def generator_loss(self, trainer, made):
        """Named terms for the generator, with autograd through the items of `made`."""
        raise NotImplementedError(f"{type(self).__name__} defines no generator_loss()")

    def student_loss(self, student, teacher):
        """Named terms for the student; the teacher's outputs are given."""
        raise NotImplementedError(f"{type(self).__name__} defines no student_loss()")
