"""What a distillation method is: the class that a plugin author writes, and what kdbench hands to it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

import msgspec

from kdbench.data import DatasetInfo, Task
from kdbench.errors import InvalidParameter
from kdbench.names import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdbench.engine.train import Trainer

LossTerms = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Needs:
    """The signals a method reads; what it does not declare is not computed.

    Feature names are those of the models (`stage1`..., `penultimate`, any module path) or the aliases `first`,
    `middle` and `last` of a model's own stages.
    """

    logits: bool = False
    student_features: tuple[str, ...] = ()
    teacher_features: tuple[str, ...] = ()
    input_grad: bool = False
    live: bool = False

    @property
    def teacher(self) -> bool:
        """Whether the method needs the teacher to have seen the batch."""
        return self.logits or bool(self.teacher_features) or self.input_grad

    @property
    def stored(self) -> bool:
        """Whether what the teacher says of an item may be computed once and kept."""
        return not self.input_grad and not self.live


def needs(
    *,
    logits: bool = False,
    features: Iterable[str] = (),
    student_features: Iterable[str] = (),
    teacher_features: Iterable[str] = (),
    input_grad: bool = False,
    live: bool = False,
) -> Needs:
    """Declare what a method reads: teacher `logits`, named `features` of both models or of one, gradients at the input.

    With `input_grad` the inputs require grad and the teacher runs with autograd on, so that `torch.autograd.grad`
    reaches them. With `live` the teacher is run on the batch that it is given: for a method that shows it other inputs
    than those of the data, or calls `trainer.teacher.module` itself.
    """
    both = tuple(features)
    return Needs(logits, (*both, *student_features), (*both, *teacher_features), input_grad, live)


@dataclass(slots=True)
class Outputs:
    """What a model said of a batch: logits (N, classes), or (N, L, classes) of tokens, features, the inputs it saw."""

    logits: Tensor
    features: Mapping[str, Tensor]
    inputs: Tensor


@dataclass(slots=True)
class Batch:
    """One mini-batch.

    Attributes:
        inputs, teacher_inputs: each model's view, shape (N, ...); the same tensor where they share a view. With several
            processes (`--devices`) N is this one's share of the batch.
        labels: class indices, int64, shape (N,); for a language-modeling task (N, L), -100 where nothing is asked.
        index: position of each item in the train split, int64, shape (N,): the key of a memory bank.
        progress: how far the training is, in [0, 1).
        epoch: 0-based.
    """

    inputs: Tensor
    teacher_inputs: Tensor
    labels: Tensor
    index: Tensor
    progress: float
    epoch: int

    def cross_entropy(self, logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy against the labels, in nats; a scalar. Tokens labelled -100 are not counted."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.flatten(0, -2), self.labels.flatten(), label_smoothing=label_smoothing)


@dataclass(frozen=True)
class ModelInfo:
    """A built model and the shapes of the features that the method asked for, without the batch: (C, H, W) or (D,)."""

    name: str
    module: nn.Module
    features: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """What a method may look at before training: both models, the data and the length of the training.

    `dataset` describes the student's view, `teacher_dataset` the teacher's.
    """

    dataset: DatasetInfo
    student: ModelInfo
    teacher: ModelInfo | None
    epochs: int
    steps_per_epoch: int
    teacher_dataset: DatasetInfo | None = None


class Method:
    """A distillation objective. Subclass it, annotate hyper-parameters with defaults, write `loss`.

    Hyper-parameters are the class's annotated attributes; constrain them with `Annotated[float, kdbench.Meta(gt=0)]`.
    Construction validates them and raises `InvalidParameter`.

    Class attributes:
        needs: the signals it reads (`kdbench.needs(...)`), a value or a property that depends on the parameters.
        tasks: the tasks it can serve.
        trains_teacher: the run trains its own copy of the teacher beside the student.
        parallel_fit: its own `fit` does the same in every process of a run that several train together (`--devices`);
            without it such runs are refused, where `fit` is overridden.
    """

    needs: ClassVar[Any] = Needs()
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    trains_teacher: ClassVar[bool] = False
    parallel_fit: ClassVar[bool] = False

    module: nn.Module | None = None
    _parameters: ClassVar[type[msgspec.Struct]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._parameters = _parameter_struct(cls)

    def __init__(self, **params: Any) -> None:
        known = self._parameters.__struct_fields__
        for name in params:
            if name not in known:
                raise InvalidParameter(
                    f"{type(self).__name__} has no parameter {name!r}",
                    f"it has: {', '.join(known) or 'none'}",
                    did_you_mean(name, known),
                )
        try:
            values = msgspec.convert(params, self._parameters, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidParameter(
                f"{type(self).__name__}: {error}", f"given: {params}", f"defaults: {self.defaults()}"
            ) from error
        self.params = msgspec.to_builtins(values)
        for name in known:
            setattr(self, name, getattr(values, name))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every hyper-parameter with its default."""
        required = {f.name: None for f in msgspec.structs.fields(cls._parameters) if f.required}
        return {**required, **(msgspec.to_builtins(cls._parameters()) if not required else {})}

    @classmethod
    def parameter_schema(cls) -> dict[str, Any]:
        """JSON Schema of the hyper-parameters: types, ranges, defaults."""
        schema: dict[str, Any] = msgspec.json.schema(cls._parameters)["$defs"][cls._parameters.__name__]["properties"]
        return schema

    def check(self, pair: Pair) -> None:
        """Raise `MethodRefused` where the pair cannot be served; called once the models are built."""

    def build(self, pair: Pair) -> nn.Module | None:
        """The method's own modules (projectors, discriminators, learnt temperatures), kept as `self.module`.

        Their parameters are trained with the student's optimiser, unless `optimizers` takes them.
        """
        return None

    def optimizers(self, pair: Pair) -> Mapping[str, Any]:
        """Optimisers that the method steps itself, in `step`; their parameters are left out of the student's."""
        return {}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> Tensor | LossTerms:
        """The loss, a scalar, or named terms whose sum it is. `teacher` may be read only as far as `needs` says."""
        raise NotImplementedError(f"{type(self).__name__} defines neither loss() nor step() nor fit()")

    def step(self, trainer: Trainer, batch: Batch) -> LossTerms:
        """One optimisation step; override to take it over. Returns the terms to log."""
        return trainer.optimize(self.loss(batch, trainer.student_outputs(batch), trainer.teacher_outputs(batch)))

    def epoch_finished(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """Called after each epoch with its logs, validation included: the place for feedback."""

    def fit(self, trainer: Trainer) -> None:
        """The whole training; override to take it over (compression baselines). May replace `trainer.student`."""
        trainer.run_epochs()


def _parameter_struct(cls: type[Method]) -> type[msgspec.Struct]:
    fields: dict[str, tuple[str, Any, Any]] = {}
    for owner in reversed(cls.__mro__):
        if not issubclass(owner, Method) or owner is Method:
            continue
        for name, hint in inspect.get_annotations(owner, eval_str=True).items():
            if not name.startswith("_") and get_origin(hint) is not ClassVar and name not in _RESERVED:  # type: ignore[comparison-overlap]
                fields[name] = (name, hint, getattr(cls, name, msgspec.NODEFAULT))
    return msgspec.defstruct(cls.__name__, fields.values(), kw_only=True, frozen=True, forbid_unknown_fields=True)


_RESERVED = {"needs", "tasks", "trains_teacher", "parallel_fit", "module", "params"}
