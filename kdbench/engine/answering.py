"""Teachers that only answer: estimators of other libraries, without gradients, features or training in steps.

A module says so with `only_answers = True`. One that kdbench is to fit has `fit(inputs, labels)` besides, which is
called once with the train split in place of training by gradient, and `definition`, JSON-able: all that decides what
comes of it beside the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from kdbench.engine.disk_view import DiskView, Inputs
from kdbench.errors import MethodRefused, ModelMismatch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdbench.catalog import Entry
    from kdbench.combo import Combo
    from kdbench.method import Method


class Fitted(Protocol):
    """What a module that is fitted offers beside `forward` and its state."""

    definition: Any

    def fit(self, inputs: Tensor, labels: Tensor) -> None:
        """Learn from the train split: inputs (N, ...) as the model's view has them, labels (N,)."""


def only_answers(model: nn.Module) -> bool:
    """Whether the model gives answers and nothing else."""
    return getattr(model, "only_answers", False) is True


def is_fitted(model: nn.Module) -> TypeGuard[Fitted]:
    """Whether it only answers, and learns by its own `fit`."""
    return only_answers(model) and callable(getattr(model, "fit", None))


def came_trained(combo: Combo, entry: Entry, model: nn.Module) -> bool:
    """Whether the teacher is loaded from a checkpoint or made with trained weights, rather than trained here."""
    if combo.teacher_checkpoint is not None or entry.metadata.get("pretrained"):
        return True
    return only_answers(model) and not is_fitted(model)


def all_items(inputs: Inputs, teacher_name: str) -> Tensor:
    """The train split as an estimator is fitted to it, (N, ...). Raises: ModelMismatch where it is read from disk."""
    if isinstance(inputs, DiskView):
        size = 4 * inputs.shape.numel() / 1e9
        raise ModelMismatch(
            f"teacher {teacher_name!r} cannot be fitted to data that does not fit into memory",
            f"an estimator takes all items of the train split at once: {len(inputs):,}, of {size:,.1f} GB",
            "choose a network, or smaller pictures",
        )
    return inputs


def check_it_can_serve(method: Method, method_name: str, teacher: nn.Module, teacher_name: str) -> None:
    """Refuse a method that wants more than answers of a teacher that gives no more. Raises: MethodRefused."""
    if only_answers(teacher) and (wanted := _beyond_answers(method)):
        raise MethodRefused(
            f"method {method_name!r} cannot learn from teacher {teacher_name!r}",
            f"it needs {wanted}, and an estimator gives probabilities alone",
            "choose a method that learns from answers (kdbench list methods --family logit), or another teacher",
        )


def _beyond_answers(method: Method) -> str:
    needs = method.needs
    for wanted, what in (
        (method.student_from_teacher, "a network whose parts it makes the student from"),
        (method.trains_teacher, "a teacher that goes on learning"),
        (needs.teacher_features, f"the teacher's features {', '.join(map(repr, needs.teacher_features))}"),
        (needs.teacher_grad or "teacher" in needs.differentiates, "gradients through the teacher"),
        (needs.live, "to run, and perhaps to differentiate, the teacher itself"),
    ):
        if wanted:
            return what
    return ""
