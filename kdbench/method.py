"""What a distillation method is: the class that a plugin author writes, and what kdbench hands to it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_origin

import msgspec

from kdbench.data import DatasetInfo, Task
from kdbench.errors import InvalidParameter, MethodRefused
from kdbench.names import did_you_mean
from kdbench.recipe import Recipe
from kdbench.search import Search, conditions, refuse_without_effect, search_space, without_effect

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdbench.engine.train import Trainer

LossTerms = Mapping[str, "Tensor"]
View = Literal["student", "teacher"]


@dataclass(frozen=True)
class Needs:
    """The signals a method reads; what it does not declare is not computed.

    Feature names are those of the models (`stage1`..., `penultimate`, any module path) or the aliases `first`,
    `middle` and `last` of a model's own stages; `NAME:pre` is the feature before its last activation,
    `penultimate:maps` what the global average pooling before the classifier receives (`penultimate` where none does).
    """

    logits: bool = False
    student_features: tuple[str, ...] = ()
    teacher_features: tuple[str, ...] = ()
    input_grad: bool = False
    feature_grad: bool = False
    live: bool = False
    differentiates: tuple[View, ...] = ()

    @property
    def teacher(self) -> bool:
        """Whether the method needs a teacher at all: one that has seen the batch, or that it runs itself."""
        return self.logits or bool(self.teacher_features) or not self.stored

    @property
    def teacher_grad(self) -> bool:
        """Whether the method differentiates through the teacher, which then runs on every batch."""
        return self.input_grad or self.feature_grad

    @property
    def stored(self) -> bool:
        """Whether what the teacher says of an item may be computed once and kept."""
        return not self.teacher_grad and not self.live


def needs(
    *,
    logits: bool = False,
    features: Iterable[str] = (),
    student_features: Iterable[str] = (),
    teacher_features: Iterable[str] = (),
    input_grad: bool = False,
    feature_grad: bool = False,
    live: bool = False,
    differentiates: Iterable[View] = (),
) -> Needs:
    """Declare what a method reads: teacher `logits`, named `features` of both models or of one, gradients at the input.

    With `input_grad` the inputs require grad and the teacher runs with autograd on, so that `torch.autograd.grad`
    reaches them; the step's own backward pass leaves them out. With `feature_grad` it reaches the features of both
    models; those of a student in half precision are then as the model computed them. Either way the teacher's logits
    carry a graph: detach them as a target. With `live` the teacher is run on the batch that it is given: for a method
    that shows it other inputs than those of the data, or calls `trainer.teacher.module` itself.

    `differentiates` names the models ("student", "teacher") that the method differentiates at inputs of its own making,
    as an attack does; nothing more is computed for it. With `input_grad` it is both where absent. A pair whose model
    has no gradient there, such as one that looks tokens up, is refused before any training.
    """
    both = tuple(features)
    if input_grad and not differentiates:
        differentiates = ("student", "teacher")
    student, teacher = (*both, *student_features), (*both, *teacher_features)
    return Needs(logits, student, teacher, input_grad, feature_grad, live, tuple(differentiates))


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
        labels: class indices, int64, shape (N,); for a language-modeling or seq2seq task (N, L), -100 where nothing is
            asked; for a multi-label one 0 and 1, float32, (N, C).
        index: position of each item in the train split, int64, shape (N,): the key of a memory bank.
        progress: how far the training is, in [0, 1).
        epoch: 0-based.
        task: the dataset's; where absent it is told by the labels: tokens, several labels, or one class.
        targets: for a retrieval task the embeddings that the items have to find, (N, D), where it has them.
    """

    inputs: Tensor
    teacher_inputs: Tensor
    labels: Tensor
    index: Tensor
    progress: float
    epoch: int
    task: Task | None = None
    targets: Tensor | None = None

    def cross_entropy(self, logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean loss on the labels, in nats; a scalar: what the undistilled student is trained on.

        Cross-entropy; tokens labelled -100 do not count, and where none does it is 0. Of several labels the binary
        one, of embeddings InfoNCE (kdbench.engine.tasks).
        """
        from kdbench.engine.tasks import Truth, kind_of

        return kind_of(self.task or self._task()).loss(logits, Truth(self.labels, self.targets), label_smoothing)

    def _task(self) -> Task:
        if self.labels.ndim == 1:
            return "multiclass"
        return "multilabel" if self.labels.is_floating_point() else "language-modeling"


@dataclass(frozen=True)
class ModelInfo:
    """A built model and the shapes of the features that the method asked for, without the batch: (C, H, W) or (D,)."""

    name: str
    module: nn.Module
    features: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def path(self, feature: str) -> str:
        """The module that outputs a feature or, with `:input` at the end, receives it.

        Raises: ModelMismatch for a name that the model does not have.
        """
        from kdbench.engine.features import resolve

        return resolve(self.module, feature, self.name)


class ModelMaker(Protocol):
    """Makes further models for a run; `Pair.new_model` is how a method asks."""

    def __call__(self, name: str, purpose: tuple[object, ...], view: View, features: tuple[str, ...]) -> ModelInfo:
        """The model `name`, initialised from the run's seed and `purpose` alone."""

    def untrained_teacher(self) -> ModelInfo:
        """The run's teacher as it was before its training."""

    def family_sizes(self) -> dict[str, int]:
        """Registered students of the pair's families, by name, with their numbers of parameters."""


@dataclass(frozen=True)
class Pair:
    """What a method may look at before training: both models, the data, the length of the training and its batches.

    Attributes:
        dataset: what the student sees of the data.
        batch_size: how many items `loss` sees at most: the recipe's, or one process's share of it (`--devices`).
        recipe: what the student is to be trained with.
        shared_view: whether the teacher sees the same, so that inputs, and gradients there, compare.
        teacher_dataset: what the teacher sees of the data.
        teacher_recipe: what the teacher was trained with; None where it came trained, or was fitted and not in epochs.
        maker: behind `new_model`; None for a pair that was put together by hand.
    """

    dataset: DatasetInfo
    student: ModelInfo
    teacher: ModelInfo | None
    epochs: int
    steps_per_epoch: int
    batch_size: int = 64
    shared_view: bool = True
    teacher_dataset: DatasetInfo | None = None
    recipe: Recipe = field(default_factory=Recipe)
    teacher_recipe: Recipe | None = None
    maker: ModelMaker | None = field(default=None, repr=False)

    def new_model(
        self, name: str = "student", *purpose: object, view: View = "student", features: Iterable[str] = ()
    ) -> ModelInfo:
        """A further model on the run's device: "student" or "teacher" for the pair's architectures, or any student.

        Args:
            purpose: with the run's seed it decides the initial weights: the same purpose, the same weights. The global
                random streams are left as they were.
            view: which model's view of the data it is built for.
            features: those whose shapes the method wants to know.

        Raises: UnknownName, ModelMismatch; MethodRefused for a pair without a maker.
        """
        if self.maker is None:
            raise MethodRefused(
                f"no further model {name!r} can be made",
                "this pair was put together by hand, without a maker",
                "give it one: Pair(..., maker=...)",
            )
        return self.maker(name, purpose, view, tuple(features))

    def students_between(self) -> dict[str, int]:
        """Registered students larger than the pair's student and smaller than its teacher, the largest first.

        Of the families of the two (`register(..., family=...)`), those that can be built for the student's view, with
        their numbers of parameters; none for a pair without a maker.
        """
        if self.maker is None or self.teacher is None:
            return {}
        smallest, largest = (sum(p.numel() for p in info.module.parameters()) for info in (self.student, self.teacher))
        sizes = {name: size for name, size in self.maker.family_sizes().items() if smallest < size < largest}
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))


class Method:
    """A distillation objective. Subclass it, annotate hyper-parameters with defaults, write `loss`.

    Hyper-parameters are the class's annotated attributes. Constrain them with `Annotated[float, kdbench.Meta(gt=0)]`,
    and say where they are worth searching with a `kdbench.Search(1, 16, log=True)` beside it. Construction validates
    them and raises `InvalidParameter`.

    Class attributes:
        needs: the signals it reads (`kdbench.needs(...)`), a value or a property that depends on the parameters.
        tasks: the tasks it can serve.
        trains_teacher: the run trains its own copy of the teacher beside the student.
        measures: metrics of the model (registered with of="model") that its runs are measured by on the test split, a
            value or a property that depends on the parameters.
        parallel_fit: its own `fit` does the same in every process of a run that several train together (`--devices`);
            without it such runs are refused, where `fit` is overridden.
        uses_models: names of the registered students that it makes beside the pair's models (`Pair.new_model`), a value
            or a property that depends on the parameters; a run with one that nothing registered is refused at once.
        student_from_teacher: the model that is scored is made from the teacher (compression baselines), and not the
            pair's student; both must then see the same view of the data, and the leaderboard says so.
        learns_answers: whether the training reaches what answers, a value or a property that depends on the parameters.
            One that matches features alone does not: it is refused without a final fine-tune in the recipe, and as all
            its epochs answer alike the last is taken.
    """

    needs: ClassVar[Any] = Needs()
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    trains_teacher: ClassVar[bool] = False
    measures: ClassVar[Any] = ()
    parallel_fit: ClassVar[bool] = False
    uses_models: ClassVar[Any] = ()
    student_from_teacher: ClassVar[bool] = False
    learns_answers: ClassVar[Any] = True

    module: nn.Module | None = None
    _parameters: ClassVar[type[msgspec.Struct]]
    _hints: ClassVar[dict[str, Any]]
    _conditions: ClassVar[dict[str, tuple[str, Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._hints = _parameter_hints(cls)
        cls._conditions = conditions(cls._hints)
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
        if self._conditions:
            refuse_without_effect(type(self).__name__, self._conditions, self.params, self.defaults())

    @classmethod
    def without_effect(cls, params: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
        """The hyper-parameters that others of these switch off: the other's name, and its value at which they count."""
        return without_effect(cls._conditions, params)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every hyper-parameter with its default; None of one that has to be given."""
        fields = msgspec.structs.fields(cls._parameters)
        made = cls._parameters(**{field.name: None for field in fields if field.required})
        return dict(msgspec.to_builtins(made))

    @property
    def changed(self) -> dict[str, Any]:
        """The hyper-parameters whose value is not their default."""
        defaults = self.defaults()
        return {name: value for name, value in self.params.items() if value != defaults[name]}

    @classmethod
    def parameter_schema(cls) -> dict[str, Any]:
        """JSON Schema of the hyper-parameters: types, ranges, defaults."""
        schema: dict[str, Any] = msgspec.json.schema(cls._parameters)["$defs"][cls._parameters.__name__]["properties"]
        return schema

    @classmethod
    def search_space(cls) -> dict[str, Search]:
        """Where `kdbench tune` searches each hyper-parameter: as its `kdbench.Search` says, else around its default.

        Raises: InvalidParameter for a `kdbench.Search` that cannot be used.
        """
        return search_space(cls.__name__, cls._hints, cls.defaults())

    @classmethod
    def parameter_types(cls) -> dict[str, Any]:
        """The declared type of every hyper-parameter, annotations included."""
        return dict(cls._hints)

    def check(self, pair: Pair) -> None:
        """Raise `MethodRefused` where the pair cannot be served.

        Asked of untrained models before anything is trained, and again when the run begins.
        """

    def build(self, pair: Pair) -> nn.Module | None:
        """The method's own modules (projectors, discriminators, learnt temperatures), kept as `self.module`.

        Their parameters are trained with the student's optimiser, unless `optimizers` takes them.
        """
        return None

    def undecayed(self) -> Iterable[nn.Parameter]:
        """Parameters that the recipe's weight decay leaves alone.

        By default those of `module` that belong to no layer of torch: a decay would pull a learnt temperature or
        variance towards a number that means nothing.
        """
        if self.module is None:
            return ()
        from kdbench.engine.optim import bare_parameters

        return bare_parameters(self.module)

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

    def may_choose(self, trainer: Trainer) -> bool:
        """Whether the checkpoint of the epoch that has just ended may be the one that validation chooses.

        A student that has not come to labels yet, or is not as small yet as it is to become, is not what a method
        promises, however well it does; it costs no patience. Where no epoch may be chosen the last is taken.
        """
        return bool(self.learns_answers)

    def fit(self, trainer: Trainer) -> None:
        """The whole training; override to take it over (compression baselines). May replace `trainer.student`."""
        trainer.run_epochs()

    def finish(self, trainer: Trainer) -> nn.Module:
        """The model that is scored, made from the trained one after any final fine-tune: the place to quantise it.

        Called once, in the process that scores. Evaluation, costs and speeds are those of what it returns.
        """
        return trainer.student


def _parameter_hints(cls: type[Method]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if not issubclass(owner, Method) or owner is Method:
            continue
        for name, hint in inspect.get_annotations(owner, eval_str=True).items():
            if not name.startswith("_") and get_origin(hint) is not ClassVar and name not in _RESERVED:  # type: ignore[comparison-overlap]
                hints[name] = hint
    return hints


def _parameter_struct(cls: type[Method]) -> type[msgspec.Struct]:
    fields = [(name, hint, getattr(cls, name, msgspec.NODEFAULT)) for name, hint in cls._hints.items()]
    return msgspec.defstruct(cls.__name__, fields, kw_only=True, frozen=True, forbid_unknown_fields=True)


_RESERVED = {"needs", "tasks", "trains_teacher", "measures", "parallel_fit", "uses_models", "student_from_teacher"}
_RESERVED |= {"learns_answers", "module", "params"}
