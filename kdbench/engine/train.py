"""The training loop, from top to bottom."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kdbench.engine.disk_view import batches_of
from kdbench.engine.evaluate import evaluate
from kdbench.engine.features import FeatureTap
from kdbench.engine.loss_terms import Logs, mean_terms, total_loss
from kdbench.engine.optim import lr_factor, make_optimizer
from kdbench.engine.peers import Peers
from kdbench.engine.seeding import generator, seed_global
from kdbench.engine.views import Views
from kdbench.errors import MethodRefused
from kdbench.method import Batch, LossTerms, Method, ModelInfo, Outputs, Pair, View
from kdbench.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from kdbench.engine.signals import TeacherSource

OnEpoch = Callable[[int, Logs], None]


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
        teacher_directory: Path | None = None,
    ) -> None:
        self.fabric, self.method, self.pair, self.recipe, self.seed = fabric, method, pair, recipe, seed
        self.train_data, self.validation_data = train, validation
        self.teacher = teacher
        self._views, self._teachers = train, [teacher]
        self.augment = augment
        self.on_epoch = on_epoch
        self._teacher_directory = teacher_directory
        self.history: list[Logs] = []
        self.steps = self.samples = 0
        self.seconds = self.batch_seconds = 0.0
        self.selected_epoch: int | None = None
        self.peers = Peers(fabric)
        self.model: nn.Module = pair.student.module
        method.module = method.build(pair)
        if method.module is not None:
            fabric.to_device(method.module)
        if self.peers.size > 1:
            self._join_peers()
        self.method_optimizers = dict(method.optimizers(pair))
        self._weight, self._averaged = 1.0, False
        self.total_steps = recipe.epochs * pair.steps_per_epoch
        self.needs = method.needs
        self._lr = recipe.lr
        # In full precision Fabric's wrappers change nothing and cost a fifth of a small model's step.
        self._plain = recipe.precision == "32-true"
        for name, optimizer in self.method_optimizers.items():
            self._share_steps(name, optimizer)
        self._follow_student()

    @property
    def student(self) -> nn.Module:
        """The model that is trained and scored. A method's `fit` may replace it, before `run_epochs` or after.

        The optimiser is then a new one, of the recipe as it is by then, for the new model's parameters; the method's
        `student_features` must be there in the new model too.
        """
        return self.model

    @student.setter
    def student(self, model: nn.Module) -> None:
        self._student_tap.close()
        self.model = self.fabric.to_device(model)
        if self.peers.size > 1:
            if self.fabric.device.type == "cuda":
                self.model = _with_shared_statistics(self.model)
            self.peers.equalize(self.model)
        self._follow_student()

    def _follow_student(self) -> None:
        """Optimiser, hooks and average of the model that is the student now."""
        self._by_module = self._parameters()
        self._trained = [p for parameters in self._by_module for p in parameters]
        self.optimizer: Any = None  # a model without parameters to train can be scored all the same
        if self._trained:
            self.optimizer = make_optimizer(self._trained, self.recipe, undecayed=self.method.undecayed())
            self._share_steps("", self.optimizer)
            if not self._plain:
                self.optimizer = self.fabric.setup_optimizers(self.optimizer)
        self._student_tap = FeatureTap(self.model, self.needs.student_features, self.pair.student.name)
        self._ema = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(self.recipe.ema), use_buffers=True)  # type: ignore[no-untyped-call]
            if self.recipe.ema
            else None
        )

    def _share_steps(self, name: str, optimizer: Any) -> None:
        """Where several processes train, let each of the optimiser's steps be of the whole batch's gradient."""
        if self.peers.size == 1:
            return
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise MethodRefused(
                f"method {type(self.method).__name__} cannot be trained by several processes",
                f"its optimiser {name!r} is a {type(optimizer).__name__}, not a torch.optim.Optimizer",
                "run it with --devices 1",
            )
        optimizer.register_step_pre_hook(self._average_before_step)

    @property
    def samples_per_second(self) -> float | None:
        """Training speed of `run_epochs`, without validation; None for a method that trains without it."""
        return round(self.samples / self.seconds, 1) if self.seconds else None

    @property
    def teacher_forward_samples(self) -> int:
        """How many items the teacher, and models that took its place, were run on."""
        return sum(source.forward_samples for source in self._teachers)

    def _parameters(self) -> list[list[nn.Parameter]]:
        """What the student's optimiser trains, by module: the student, the method's own, a teacher that learns too."""
        owned = {id(p) for o in self.method_optimizers.values() for g in o.param_groups for p in g["params"]}
        teacher = self.teacher.module if self.method.trains_teacher else None
        modules = [module for module in (self.model, self.method.module, teacher) if module is not None]
        return [[p for p in module.parameters() if p.requires_grad and id(p) not in owned] for module in modules]

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
        """Train for the recipe's epochs, keep the checkpoint that validation chooses, and load it.

        The method is asked after each epoch whether its checkpoint may be the one (`Method.may_choose`); where none
        may, the last is taken.
        """
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
            if not self.method.may_choose(self):
                continue
            quality = (-logs["val_loss"],) if recipe.monitor == "loss" else (logs["val_accuracy"], -logs["val_loss"])
            if best is None or quality > best:
                best, best_epoch = quality, epoch
                if recipe.select == "best":
                    best_state = copy.deepcopy(scored.state_dict())
            elif recipe.patience is not None and epoch - best_epoch >= recipe.patience:
                break
        if recipe.select == "best" and best is not None:
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
        items, started = len(data.labels), time.perf_counter()
        order_stream = generator(self.seed, "order", epoch)
        drawn = torch.randperm(items, generator=order_stream)
        if size > 1 and items > 1 and items % size == 1:
            drawn = drawn[:-1]  # a rest of one item, of which batch norm has no variance
        order, on_cpu = torch.split(drawn.to(data.labels.device), size), torch.split(drawn, size)
        shares = [self.peers.share(len(index)) for index in order]
        if self.peers.size > 1 and self.augment is None:  # else all is selected first, and drawn for
            order, on_cpu = (
                tuple(index[part] for index, (part, _) in zip(each, shares, strict=True)) for each in (order, on_cpu)
            )
        shared = data.teacher is data.student
        selected = batches_of(data.student, order, on_cpu)
        of_teacher = selected if shared else batches_of(data.teacher, order, on_cpu)
        for number, (index, (part, weight)) in enumerate(zip(order, shares, strict=True)):
            self.samples += min(size, items - number * size)
            self._weight = weight
            inputs = next(selected)
            teacher_inputs = inputs if shared else next(of_teacher)
            if self.augment is not None:
                inputs = self.augment(inputs, order_stream)
                teacher_inputs = inputs if shared else self.augment(teacher_inputs, order_stream)
                if self.peers.size > 1:
                    index, inputs = index[part], inputs[part]
                    teacher_inputs = inputs if shared else teacher_inputs[part]
            done = epoch * self.pair.steps_per_epoch + number
            self._lr = self.recipe.lr * lr_factor(self.recipe, done, self.total_steps, self.pair.steps_per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = self._lr
            batch = Batch(
                inputs, teacher_inputs, data.labels[index], index, done / self.total_steps, epoch, data.task,
                None if data.targets is None else data.targets[index],
            )  # fmt: skip
            self.batch_seconds += time.perf_counter() - started
            yield batch
            started = time.perf_counter()

    def student_outputs(self, batch: Batch) -> Outputs:
        """The student's logits and features on the batch, with autograd."""
        if self.needs.input_grad:
            batch.inputs.requires_grad_()
        with nullcontext() if self._plain else self.fabric.autocast():
            logits = self.model(batch.inputs)
        features = self._student_tap.take()
        if not self._plain:  # losses and projectors are computed in full precision
            logits = logits.float()
            if not self.needs.feature_grad:  # a converted feature is not on the way to the logits
                features = {name: value.float() for name, value in features.items()}
        return Outputs(logits, features, batch.inputs)

    def teacher_outputs(self, batch: Batch) -> Outputs:
        """The teacher's signals on the batch: from the bank where its inputs repeat every epoch, else computed."""
        return self.teacher.outputs(batch)

    def teacher_logits(self, inputs: Tensor) -> Tensor:
        """The teacher's logits on inputs other than a batch's, perturbed ones say: one more pass, with autograd."""
        if self.teacher.module is None:
            raise MethodRefused(
                f"method {type(self.method).__name__} runs the teacher, and declares no need of one",
                fix="needs = kdbench.needs(logits=True)",
            )
        logits: Tensor = self.teacher.module(inputs)
        self.teacher.forward_samples += len(inputs)
        return logits

    def optimize(self, loss: Tensor | LossTerms) -> LossTerms:
        """One step of the student's optimiser on a scalar or on named terms; returns the terms, detached.

        Terms are means over the batch: with several processes, their gradients are averaged by the sizes of the shares.
        """
        terms: LossTerms = loss if isinstance(loss, Mapping) else {"loss": loss}
        total = total_loss(terms, self.method)
        self.optimizer.zero_grad(set_to_none=True)
        if self._plain:
            torch.autograd.backward(total, inputs=self._learning())
        else:
            self.fabric.backward(total, inputs=self._learning())
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

    def _learning(self) -> list[nn.Parameter] | None:
        """What a step's gradient is computed for; None for all that asks for one, where the inputs do not."""
        if not self.needs.input_grad:
            return None
        owned = [p for o in self.method_optimizers.values() for group in o.param_groups for p in group["params"]]
        return [p for p in (*self._trained, *owned) if p.requires_grad] or None

    def _clip(self, norm: float) -> None:
        """Each module by itself: the student's step does not depend on how steep its peers' losses are."""
        student, *others = self._by_module
        if self._plain:
            nn.utils.clip_grad_norm_(student, norm)
        else:  # half precision: of the gradients as they are without the loss's scale; the scaler skips infinite ones
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=norm, error_if_nonfinite=False)
        for parameters in others:  # the scale is out of theirs too by now: the optimiser is the same
            nn.utils.clip_grad_norm_(parameters, norm)

    def generator(self, *purpose: object) -> torch.Generator:
        """A random stream on the CPU that depends on the run's seed and the purpose alone."""
        return generator(self.seed, "method", *purpose)

    def validate(self, model: nn.Module, view: View = "student") -> dict[str, float]:
        """Mean cross-entropy ("loss", in nats) and "accuracy" of any model on the validation split."""
        return evaluate(model, self.validation_data.seen_by(view), self.fabric, self.peers)

    def learn_from(self, model: nn.Module, view: View = "student") -> None:
        """Put another trained model in the teacher's place; it is frozen, and sees `view`'s inputs."""
        from kdbench.engine.further import frozen_source

        self.train_data = self._views.seen_by("student") if view == "student" else self._views
        self.teacher = frozen_source(self, model, self.train_data)
        self._teachers.append(self.teacher)

    def train_model(
        self,
        model: ModelInfo,
        *purpose: object,
        method: Method | None = None,
        view: View = "student",
        recipe: Recipe | None = None,
    ) -> nn.Module:
        """Train another model (`Pair.new_model`) on this run's data; the trained model.

        Args:
            purpose: with the run's seed it decides the order of the data and every other draw.
            method: whose `build`, `loss`, `step` and `optimizers` are used, with the present teacher; None trains on
                labels alone.
            view: which model's inputs it sees; with a method, the student's.
            recipe: the student's where absent. The precision is the student's in any case.

        Its checkpoint is chosen as the recipe says. Its steps count as this training's. Raises: Diverged.
        """
        from kdbench.engine.further import train_further

        recipe = self.recipe if recipe is None else msgspec.structs.replace(recipe, precision=self.recipe.precision)
        data, validation = self.train_data, self.validation_data
        if method is None:
            data, validation = self._views.seen_by(view), validation.seen_by(view)
        return train_further(self, model, method, purpose, recipe, data, validation)

    def teacher_after(self, epochs: Collection[int]) -> dict[int, nn.Module]:
        """The run's teacher, frozen, as it was after each of these numbers of epochs of its own training.

        That training is repeated as far as needed, with its own recipe (but this run's precision) and seed, by the
        first run that asks; the bank keeps what it comes to. Raises: MethodRefused for a teacher that came trained.
        """
        from kdbench.engine.further import repeat_teacher

        return repeat_teacher(self, epochs, self._views.seen_by("teacher"), self.validation_data.seen_by("teacher"))

    def made_of_teacher(
        self, name: str, parts: object, make: Callable[[], Mapping[str, Tensor]]
    ) -> Mapping[str, Tensor]:
        """The tensors that `make()` gives, on the CPU; kept beside the run's teacher for every later run that asks.

        For what costs time and is the same for all seeds. A training without a bank, as of a further model, makes it.

        Args:
            name: what they are, for people; part of a file's name.
            parts: what decides them beside the teacher, the train split and the teacher's view, as JSON has it:
                hyper-parameters, and a number of one's own to change with the code.

        Raises: what `make` raises; StoreError where they cannot be kept.
        """
        from kdbench.engine.kept import made_of_teacher

        return made_of_teacher(self._teacher_directory, name, parts, make, self.peers)

    def close(self) -> None:
        """Remove the hooks from the models."""
        self._student_tap.close()
        for source in self._teachers:
            source.close()


def _with_shared_statistics(module: nn.Module) -> nn.Module:
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return converted
