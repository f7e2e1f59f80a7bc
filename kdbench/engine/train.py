"""The training loop, from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kdbench.engine.evaluate import evaluate
from kdbench.engine.features import FeatureTap
from kdbench.engine.optim import lr_factor, make_optimizer
from kdbench.engine.seeding import generator
from kdbench.errors import Diverged, InvalidLoss
from kdbench.method import Batch, LossTerms, Method, Outputs, Pair
from kdbench.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from kdbench.engine.datasets import Split
    from kdbench.engine.signals import TeacherSource

Logs = dict[str, float]
OnEpoch = Callable[[int, Logs], None]


@dataclass(frozen=True, eq=False)
class Views:
    """A split on the device as both models see it."""

    student: Tensor
    teacher: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: Split, student: str, teacher: str, device: torch.device) -> Views:
        """The split's tensors, moved once."""
        inputs = split.inputs[student].to(device)
        other = inputs if teacher == student else split.inputs[teacher].to(device)
        return cls(inputs, other, split.labels.to(device))


class Trainer:
    """Trains one student with one method; a method that takes over the step or the training is handed this."""

    def __init__(
        self,
        *,
        fabric: Fabric,
        method: Method,
        pair: Pair,
        teacher: TeacherSource,
        train: Views,
        validation: Views,
        recipe: Recipe,
        seed: int,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        on_epoch: OnEpoch = lambda epoch, logs: None,
    ) -> None:
        self.fabric, self.method, self.pair, self.recipe, self.seed = fabric, method, pair, recipe, seed
        self.train_data, self.validation_data = train, validation
        self.teacher = teacher
        self.augment = augment
        self.on_epoch = on_epoch
        self.history: list[Logs] = []
        self.steps = self.samples = 0
        self.seconds = 0.0
        self.selected_epoch: int | None = None
        self.model: nn.Module = pair.student.module
        method.module = method.build(pair)
        if method.module is not None:
            fabric.to_device(method.module)
        self.method_optimizers = dict(method.optimizers(pair))
        self.optimizer: Any = make_optimizer(self._parameters(), recipe)
        self.total_steps = recipe.epochs * pair.steps_per_epoch
        self.needs = method.needs
        self._lr = recipe.lr
        self._student_tap = FeatureTap(self.model, self.needs.student_features, pair.student.name)
        # On one device in full precision Fabric's wrappers change nothing and cost a fifth of a small model's step.
        self._plain = fabric.world_size == 1 and recipe.precision.endswith("-true")
        self._forward: nn.Module = self.model
        if not self._plain:
            self._forward, self.optimizer = fabric.setup(self.model, self.optimizer)
        self._ema = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)  # type: ignore[no-untyped-call]
            if recipe.ema
            else None
        )

    @property
    def student(self) -> nn.Module:
        """The model that is scored; a method's `fit` may replace it."""
        return self.model

    @student.setter
    def student(self, model: nn.Module) -> None:
        self.model = model

    @property
    def samples_per_second(self) -> float | None:
        """Training speed of `run_epochs`, without validation; None for a method that trains without it."""
        return round(self.samples / self.seconds, 1) if self.seconds else None

    def _parameters(self) -> list[nn.Parameter]:
        owned = {id(p) for o in self.method_optimizers.values() for g in o.param_groups for p in g["params"]}
        modules = [self.model, *([self.method.module] if self.method.module is not None else [])]
        if self.method.trains_teacher and self.teacher.module is not None:
            modules.append(self.teacher.module)
        return [p for module in modules for p in module.parameters() if id(p) not in owned]

    def run_epochs(self) -> None:
        """Train for the recipe's epochs, keep the checkpoint that validation chooses, and load it."""
        recipe, best, best_epoch, best_state = self.recipe, None, 0, None
        scored = self._ema.module if self._ema else self.model
        for epoch in range(recipe.epochs):
            logs = self.train_epoch(epoch)
            logs |= {f"val_{k}": v for k, v in evaluate(scored, self.validation_data, self.fabric).items()}
            logs["lr"] = self._lr
            self.history.append({"epoch": float(epoch), **logs})
            self.selected_epoch = epoch
            self.method.epoch_finished(self, logs)
            self.on_epoch(epoch, logs)
            quality = (-logs["val_loss"],) if recipe.monitor == "loss" else (logs["val_accuracy"], -logs["val_loss"])
            if best is None or quality > best:
                best, best_epoch = quality, epoch
                if recipe.select == "best":
                    best_state = copy.deepcopy(scored.state_dict())
            elif recipe.patience is not None and epoch - best_epoch >= recipe.patience:
                break
        if recipe.select == "best":
            self.selected_epoch = best_epoch
        self.model.load_state_dict(scored.state_dict() if best_state is None else best_state)

    def train_epoch(self, epoch: int) -> Logs:
        """One epoch of steps; the means of the loss terms. Raises `Diverged` where one is not finite."""
        self.model.train()
        if self.method.module is not None:
            self.method.module.train()
        started = time.perf_counter()
        logs = _mean_terms([self.method.step(self, batch) for batch in self.batches(epoch)], epoch)
        self.seconds += time.perf_counter() - started
        return logs

    def batches(self, epoch: int) -> Any:
        """The epoch's mini-batches, in an order that depends on the seed and the epoch alone."""
        data, size = self.train_data, self.recipe.batch_size
        items = len(data.labels)
        order_stream = generator(self.seed, "order", epoch)
        order = torch.randperm(items, generator=order_stream).to(data.labels.device)
        shared = data.teacher is data.student
        for number, index in enumerate(torch.split(order, size)):
            if len(index) == 1 and items > 1:
                continue  # batch norm has no variance of a single item
            inputs = data.student[index]
            teacher_inputs = inputs if shared else data.teacher[index]
            if self.augment is not None:
                inputs = self.augment(inputs, order_stream)
                teacher_inputs = inputs if shared else self.augment(teacher_inputs, order_stream)
            self.samples += len(index)
            done = epoch * self.pair.steps_per_epoch + number
            self._lr = self.recipe.lr * lr_factor(self.recipe, done, self.total_steps, self.pair.steps_per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = self._lr
            yield Batch(inputs, teacher_inputs, data.labels[index], index, done / self.total_steps, epoch)

    def student_outputs(self, batch: Batch) -> Outputs:
        """The student's logits and features on the batch, with autograd."""
        if self.needs.input_grad:
            batch.inputs.requires_grad_()
        with nullcontext() if self._plain else self.fabric.autocast():
            logits = self._forward(batch.inputs)
        return Outputs(logits, self._student_tap.take(), batch.inputs)

    def teacher_outputs(self, batch: Batch) -> Outputs:
        """The teacher's signals on the batch: from the bank where its inputs repeat every epoch, else computed."""
        return self.teacher.outputs(batch)

    def optimize(self, loss: Tensor | LossTerms) -> LossTerms:
        """One step of the student's optimiser on a scalar or on named terms; returns the terms, detached."""
        terms: LossTerms = loss if isinstance(loss, Mapping) else {"loss": loss}
        total = _total(terms, self.method)
        self.optimizer.zero_grad(set_to_none=True)
        if self._plain:
            torch.autograd.backward(total)
        else:
            self.fabric.backward(total)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.steps += 1
        if self._ema is not None:
            self._ema.update_parameters(self.model)
        return {name: term.detach() for name, term in terms.items()}

    def close(self) -> None:
        """Remove the hooks from the models."""
        self._student_tap.close()
        self.teacher.close()


def _total(terms: LossTerms, method: Method) -> Tensor:
    name = type(method).__name__
    for term, value in terms.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InvalidLoss(
                f"method {name} returned a loss that is not a scalar",
                f"term {term!r} has {found}",
                "reduce it over the batch in loss()",
            )
    if not terms:
        raise InvalidLoss(f"method {name} returned no loss terms")
    values = iter(terms.values())
    total = next(values)
    for value in values:
        total = total + value
    if not total.requires_grad:
        raise InvalidLoss(
            f"method {name} returned a loss without gradient",
            f"none of its terms ({', '.join(terms)}) depends on the student",
            "compute it from student.logits or student.features, without detach()",
        )
    return total


def _mean_terms(logged: list[LossTerms], epoch: int) -> Logs:
    """Epoch means of the logged terms and of their sum, checked finite: one transfer from the device for each term."""
    values: dict[str, list[Tensor]] = {}
    for terms in logged:
        for name, term in terms.items():
            values.setdefault(name, []).append(term)
    means = {name: float(torch.stack(terms).float().mean()) for name, terms in values.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise Diverged(f"loss term {name!r} became {mean} in epoch {epoch}")
    return {"loss": sum(means.values()), **(means if list(means) != ["loss"] else {})}
