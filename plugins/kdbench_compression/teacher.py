"""The frame of the methods whose student is the teacher itself, made smaller."""

from typing import Annotated, ClassVar

import msgspec

import kdbench


class FromTeacher(kdbench.Method):
    """A method that scores a compressed copy of the teacher; the teacher itself stays as it is.

    A subclass sets `name` to what it is registered as, and writes `compressed`, the model to begin with. A pair that it
    cannot be made from is refused before anything is trained.
    """

    name: ClassVar[str]
    student_from_teacher = True
    parallel_fit = True  # what is cut away depends on weights, which all processes have the same

    def copied(self, pair):
        """The teacher's network and weights, free to be trained."""
        import copy

        return copy.deepcopy(pair.teacher.module).requires_grad_(True)

    def compressed(self, pair):
        """The model that training begins with."""
        return self.copied(pair)

    def check(self, pair):
        """Try the compression on the pair; raises `MethodRefused` with what is in its way."""
        self.attempt(pair, lambda: self.compressed(pair))

    def attempt(self, pair, compress):
        """Run a compressed model on zeros; what the libraries raise becomes the reason of a refusal."""
        import torch

        try:
            model = compress().eval()
            with torch.no_grad():
                model(example(pair))
        except kdbench.KdbenchError:
            raise
        except Exception as error:  # a library's limits show as any exception
            raise self.refusal(f"{type(error).__name__}: {first_line(error)}") from error

    def refusal(self, why, fix="choose another teacher, or another method of the family compression"):
        """The error that says why this method cannot serve the pair."""
        return kdbench.MethodRefused(f"method {self.name!r} cannot compress this model", why, fix)

    def refuse_average(self, pair):
        """Refuse a recipe that scores an average of the weights over time."""
        if pair.recipe.ema is not None:
            raise self.refusal(
                f"recipe.ema={pair.recipe.ema:g} scores an average of weights from before and after compression",
                "--set recipe.ema=null",
            )

    def fit(self, trainer):
        """Nothing is trained."""
        trainer.student = self.compressed(trainer.pair)


class FineTuned(FromTeacher):
    """A compressed teacher that is trained on: (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), t the original teacher.

    It trains with the recipe, at `lr_factor` of its learning rate, for it begins with trained weights (Han et al.,
    2015, sec. 4, retrain LeNet at a tenth). α is 0 by default: labels alone.
    """

    alpha: Annotated[float, kdbench.Meta(ge=0, le=1)] = 0.0
    temperature: Annotated[float, kdbench.Meta(gt=0)] = 4.0
    lr_factor: Annotated[float, kdbench.Meta(gt=0, le=1)] = 0.1

    @property
    def needs(self):
        """The original teacher's logits, where they count."""
        return kdbench.needs(logits=self.alpha > 0)

    def loss(self, batch, student, teacher):
        """Cross-entropy, and soft targets where α is not 0."""
        if self.alpha == 0:
            return {"ce": batch.cross_entropy(student.logits)}
        return soft_targets(batch, student, teacher, self.temperature, self.alpha)

    def fit(self, trainer):
        """Compress, then train on."""
        trainer.recipe = msgspec.structs.replace(trainer.recipe, lr=trainer.recipe.lr * self.lr_factor)
        trainer.student = self.begin(trainer)
        trainer.run_epochs()

    def begin(self, trainer):
        """The model that is trained on."""
        return self.compressed(trainer.pair)


def soft_targets(batch, student, teacher, temperature, alpha):
    """The terms of Hinton et al. (2015), as `kd` has them."""
    fused = kdbench.kernels.kd_hinton(student.logits, teacher.logits, batch.labels, temperature, alpha)
    ce = (1 - alpha) * fused.ce
    return {"ce": ce, "kd": fused.loss - ce}


def example(pair):
    """Two items of zeros, where the teacher is."""
    import torch

    device = next(pair.teacher.module.parameters()).device
    return torch.zeros(2, *pair.dataset.input_shape, device=device)


def first_line(error):
    """What an exception says, without the rest of its story."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")[:200]
