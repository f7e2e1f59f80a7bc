"""The training loop, from top to bottom."""

from __future__ import annotations

import copy
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
from kdbench.engine.loss_terms import Logs, mean_terms, total_loss
from kdbench.engine.optim import lr_factor, make_optimizer
from kdbench.engine.peers import Peers
from kdbench.engine.seeding import generator, seed_global
from kdbench.errors import MethodRefused
from kdbench.method import Batch, LossTerms, Method, Outputs, Pair
from kdbench.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from kdbench.engine.datasets import Split
    from kdbench.engine.signals import TeacherSource

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
        self.peers = Peers(fabric)
        self.model: nn.Module = pair.student.module
        method.module = method.build(pair)
        if method.module is not None:
            fabric.to_device(method.module)
        if self.peers.size > 1:
            self._join_peers()
        self.method_optimizers = dict(method.optimizers(pair))
        self._trained = [p for p in self._parameters() if p.requires_grad]
        self.optimizer: Any = make_optimizer(self._trained, recipe, undecayed=method.undecayed())
        self._weight, self._averaged = 1.0, False
        if self.peers.size > 1:
            for name, optimizer in {"": self.optimizer, **self.method_optimizers}.items():
                if not isinstance(optimizer, torch.optim.Optimizer):
                    raise MethodRefused(
                        f"method {type(method).__name__} cannot be trained by several processes",
                        f"its optimiser {name!r} is a {type(optimizer).__name__}, not a torch.optim.Optimizer",
                        "run it with --devices 1",
                    )
                optimizer.register_step_pre_hook(self._average_before_step)
        self.total_steps = recipe.epochs * pair.steps_per_epoch
        self.needs = method.needs
        self._lr = recipe.lr
        self._student_tap = FeatureTap(self.model, self.needs.student_features, pair.student.name)
        # In full precision Fabric's wrappers change nothing and cost a fifth of a small model's step.
        self._plain = recipe.precision == "32-true"
        if not self._plain:
            self.optimizer = fabric.setup_optimizers(self.optimizer)
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

    def _join_peers(self) -> None:
        """Begin with the first process's weights and an own random stream (dropout); share batch norm's statistics."""
        method, on_gpu = self.method, self.fabric.device.type == "cuda"
        if on_gpu:  # torch has synchronised batch norm for GPUs only
            self.model = _with_shared_statistics(self.model)
            if method.module is not None:
                method.module = _with_shared_statistics(method.module)
        self.peers.equalize(self.model, method.module, self.teacher.module if method.trains_teacher else None)
        if not self.peers.first:
            seed_global(self.seed, "training", self.peers.rank)

    def _average_before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Every optimiser steps with the whole batch's gradient, whoever calls it."""
        if not (self._averaged and optimizer is getattr(self.optimizer, "optimizer", self.optimizer)):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self.peers.average_gradients(parameters, self._weight)

    def run_epochs(self) -> None:
        """Train for the recipe's epochs, keep the checkpoint that validation chooses, and load it."""
        recipe, best, best_epoch, best_state = self.recipe, None, 0, None
        scored = self._ema.module if self._ema else self.model
        for epoch in range(recipe.epochs):
            logs = self.train_epoch(epoch)
            self.peers.average_buffers(scored)
            scores = evaluate(scored, self.validation_data, self.fabric, self.peers)
            logs |= {f"val_{name}": value for name, value in scores.items()}
            logs["lr"] = self._lr
            logs = self.peers.agree(logs)
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
        steps = [(self._weight, self.method.step(self, batch)) for batch in self.batches(epoch)]
        logs = mean_terms(steps, epoch, self.peers)
        self.seconds += time.perf_counter() - started
        return logs

    def batches(self, epoch: int) -> Any:
        """The epoch's mini-batches, in an order that depends on the seed and the epoch alone.

        With several processes, this one's share of each; augmentation is drawn for whole batches, so that what happens
        to an item does not depend on the number of processes.
        """
        data, size = self.train_data, self.recipe.batch_size
        items = len(data.labels)
        order_stream = generator(self.seed, "order", epoch)
        order = torch.randperm(items, generator=order_stream).to(data.labels.device)
        shared = data.teacher is data.student
        for number, index in enumerate(torch.split(order, size)):
            if len(index) == 1 and min(size, items) > 1:
                continue  # a rest, of which batch norm has no variance
            self.samples += len(index)
            part = None
            if self.peers.size > 1:
                part, self._weight = self.peers.share(len(index))
                if self.augment is None:
                    index, part = index[part], None
            inputs = data.student[index]
            teacher_inputs = inputs if shared else data.teacher[index]
            if self.augment is not None:
                inputs = self.augment(inputs, order_stream)
                teacher_inputs = inputs if shared else self.augment(teacher_inputs, order_stream)
            if part is not None:
                index, inputs = index[part], inputs[part]
                teacher_inputs = inputs if shared else teacher_inputs[part]
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
            logits = self.model(batch.inputs)
        features = self._student_tap.take()
        if not self._plain:  # losses and projectors are computed in full precision
            logits, features = logits.float(), {name: value.float() for name, value in features.items()}
        return Outputs(logits, features, batch.inputs)

    def teacher_outputs(self, batch: Batch) -> Outputs:
        """The teacher's signals on the batch: from the bank where its inputs repeat every epoch, else computed."""
        return self.teacher.outputs(batch)

    def optimize(self, loss: Tensor | LossTerms) -> LossTerms:
        """One step of the student's optimiser on a scalar or on named terms; returns the terms, detached.

        Terms are means over the batch: with several processes, their gradients are averaged by the sizes of the shares.
        """
        terms: LossTerms = loss if isinstance(loss, Mapping) else {"loss": loss}
        total = total_loss(terms, self.method)
        self.optimizer.zero_grad(set_to_none=True)
        if self._plain:
            torch.autograd.backward(total)
        else:
            self.fabric.backward(total)
        self.peers.average_gradients(self._trained, self._weight)
        if self.recipe.clip_norm is not None:
            self._clip(self.recipe.clip_norm)
        self._averaged = True
        self.optimizer.step()
        self._averaged = False
        self.steps += 1
        if self._ema is not None:
            self._ema.update_parameters(self.model)
        return {name: term.detach() for name, term in terms.items()}

    def _clip(self, norm: float) -> None:
        if self._plain:
            nn.utils.clip_grad_norm_(self._trained, norm)
        else:  # half precision: of the gradients as they are without the loss's scale; the scaler skips infinite ones
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=norm, error_if_nonfinite=False)

    def close(self) -> None:
        """Remove the hooks from the models."""
        self._student_tap.close()
        self.teacher.close()


def _with_shared_statistics(module: nn.Module) -> nn.Module:
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return converted
