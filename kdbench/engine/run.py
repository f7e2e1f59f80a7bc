"""One run, from the data to its record."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import nn

from kdbench import kernels
from kdbench.catalog import Catalog
from kdbench.engine import cost as costs
from kdbench.engine.answer_metrics import answer_metrics, models_own
from kdbench.engine.answering import only_answers
from kdbench.engine.augment import augmentation
from kdbench.engine.bank import Teacher
from kdbench.engine.context import EpochListener, RunContext, RunData, make_fabric
from kdbench.engine.measures import measure, measure_teacher
from kdbench.engine.models import build_model
from kdbench.engine.pairs import make_pair
from kdbench.engine.peers import Peers
from kdbench.engine.provenance import provenance
from kdbench.engine.seeding import seed_global
from kdbench.engine.tasks import kind_of
from kdbench.engine.teachers import answers, obtain_teacher, teacher_source, train_supervised
from kdbench.engine.train import Trainer
from kdbench.errors import Diverged, KdbenchError, MethodFailed
from kdbench.method import Method
from kdbench.outcomes import failure_record, identity, now
from kdbench.plan import Run
from kdbench.plugins import describe
from kdbench.recipe import Recipe
from kdbench.records import Cost, Provenance, Record, Status, Throughput

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Predictions = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def execute_run(run: Run, context: RunContext, on_epoch: EpochListener) -> tuple[Record, Predictions]:
    """Train, evaluate and measure; a failure becomes a record that says why."""
    started = now()
    try:
        done = train_and_measure(run, context, on_epoch)
    except Exception as error:  # noqa: BLE001 - one run's fault costs only that run; the record keeps it
        return failure_record(run, *verdict(error), started), {}
    assert done is not None, "a process alone is the first"
    return done


def verdict(error: Exception) -> tuple[Status, str]:
    """What a record says of a run, or of a teacher's training, that raised."""
    return "diverged" if isinstance(error, Diverged) else "failed", describe(error)


def prepare_teacher(run: Run, context: RunContext, on_epoch: EpochListener) -> None:
    """Make sure that the bank has the run's teacher; raises what building or training it raises."""
    fabric = make_fabric(run, run.teacher_recipe.precision, context.place)
    obtain_teacher(run, context, context.data(run, fabric.device), on_epoch)


def train_and_measure(run: Run, context: RunContext, on_epoch: EpochListener) -> tuple[Record, Predictions] | None:
    """The whole run; raises what goes wrong. Of processes that train it together, the first evaluates and measures.

    Returns: None in the others.
    """
    started = now()
    clock, fabric = _Clock(), make_fabric(run, run.recipe.precision, context.place)
    peers = Peers(fabric)
    method: Method = context.catalog.find("method", run.combo.method).load()(**run.params)
    with clock.phase("data"):
        data = context.data(run, fabric.device)
    with clock.phase("teacher"):
        teacher = obtain_teacher(run, context, data, on_epoch)
    seed_global(run.seed, "student")
    info = data.dataset.info(run.combo.student_view)
    student = fabric.to_device(build_model(context.catalog.find("student", run.combo.student), info))
    pair = make_pair(run, context.catalog, data, student, teacher.module, method)
    teacher_metrics: dict[str, float | None] = {}
    if peers.first and not run.trial:  # before the training, which may be the teacher's too
        with clock.phase("teacher"):
            seen = data.dataset.info(run.combo.teacher_view)
            measured = measure_teacher(run.measures, context.catalog, teacher, data.test, seen)
        teacher_metrics = {**teacher.metrics, **measured}
    with clock.phase("signals"):
        source = teacher_source(run, method, teacher, data.train, context.teacher_features, peers)
    seed_global(run.seed, "training")
    trainer = Trainer(
        fabric=fabric, method=method, pair=pair, teacher=source, train=data.train, validation=data.validation,
        recipe=run.recipe, seed=run.seed, augment=augmentation(run.recipe.augment) if run.recipe.augment else None,
        on_epoch=lambda epoch, logs: on_epoch("train", epoch, run.recipe.epochs, logs),
        teacher_directory=teacher.directory,
    )  # fmt: skip
    with costs.PeakMemory(fabric.device) as memory, clock.phase("train"):
        _calling(run, trainer, method.fit)
    trainer.close()
    model, history, steps = trainer.student, trainer.history, trainer.steps
    selected = trainer.selected_epoch
    if run.recipe.finetune_epochs:
        with clock.phase("finetune"):
            recipe = _finetune_recipe(run.recipe)
            distilled = replace(pair, student=replace(pair.student, module=model))
            tuned = train_supervised(
                "finetune", fabric, distilled, data.train, data.validation, recipe, run.seed, on_epoch
            )
        after = [{**row, "epoch": row["epoch"] + len(history), "finetune": 1.0} for row in tuned.history]
        if tuned.selected_epoch is not None:
            selected = len(history) + tuned.selected_epoch
        history, steps = [*history, *after], steps + tuned.steps
    forward_samples = sum(peers.gather(trainer.teacher_forward_samples))
    if not peers.first:
        return None
    with clock.phase("finish"):
        model = _calling(run, trainer, method.finish)
    with clock.phase("evaluate"):
        predictions, scores = _evaluate(run, context.catalog, fabric, model, data, teacher)
    throughput, flops = Throughput(), None
    if not run.trial:
        with clock.phase("throughput"):
            throughput = costs.measure_throughput(model, data.test.student)
            flops = costs.flops(model, data.test.student[:1])
    throughput.train_samples_per_s = trainer.samples_per_second
    record = Record(
        **identity(run),
        **scores,
        status="ok",
        teacher_metrics=teacher_metrics,
        throughput=throughput,
        cost=Cost(
            parameters=costs.parameters(model),
            nonzero_parameters=costs.nonzero_parameters(model),
            teacher_parameters=_teacher_parameters(teacher.module),
            flops=flops,
            bytes=costs.stored_bytes(model),
            peak_memory_bytes=memory.peak_bytes,
            seconds={name: round(value, 6) for name, value in clock.seconds.items()},
            batch_seconds=round(trainer.batch_seconds, 6),
            steps=steps,
            teacher_forward_samples=forward_samples,
        ),
        history=[dict(row) for row in history],
        selected_epoch=selected,
        provenance=_provenance(run, context, fabric, data, teacher),
        started=started,
        finished=now(),
    )
    return record, predictions


def _teacher_parameters(teacher: nn.Module) -> int | None:
    """Not 0 for a forest: what is in an estimator is not counted in parameters."""
    return costs.parameters(teacher) or (None if only_answers(teacher) else 0)


def _calling(run: Run, trainer: Trainer, part: Callable[[Trainer], T]) -> T:
    """What a method's own code returns; its faults are told as the method's."""
    try:
        return part(trainer)
    except KdbenchError:
        raise
    except Exception as error:
        traceback.print_exc()  # whole, into the worker's log
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise MethodFailed(
            f"method {run.combo.method!r} raised in epoch {len(trainer.history)}",
            f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
        ) from error


def _finetune_recipe(recipe: Recipe) -> Recipe:
    lr = recipe.finetune_lr if recipe.finetune_lr is not None else recipe.lr / 10
    return msgspec.structs.replace(recipe, epochs=recipe.finetune_epochs, lr=lr, warmup_epochs=0, finetune_epochs=0)


def _evaluate(
    run: Run, catalog: Catalog, fabric: Fabric, model: nn.Module, data: RunData, teacher: Teacher
) -> tuple[Predictions, dict[str, Any]]:
    """The student's answers on the test split, and the record's fields that come from answers.

    Of a trial only those on the validation split: what is not computed cannot be tuned on.
    """
    kind = kind_of(data.dataset.task)
    validated = answers(model, data.validation, fabric)
    val_metrics = kind.score(validated)
    if run.trial:
        return {}, {"val_metrics": val_metrics}
    said = answers(model, data.test, fabric)
    metrics = kind.score(said, teacher.test_probabilities.astype(np.float64))
    plugin_metrics = answer_metrics(run, catalog, said, validated)
    info = data.dataset.info(run.combo.student_view)
    measured = measure(models_own(run.measures, catalog), catalog, model, data.test, info)
    return kind.kept(said), {
        "metrics": metrics | plugin_metrics | measured,
        "val_metrics": val_metrics,
        "confusion": kind.confusion(said),
    }


def _provenance(run: Run, context: RunContext, fabric: Fabric, data: RunData, teacher: Teacher) -> Provenance:
    return provenance(
        plugins=context.plugins,
        device=str(fabric.device),
        workers=context.workers,
        deterministic=run.deterministic,
        kernel_backend=kernels.backend_name(fabric.device),
        dataset_fingerprint=data.dataset.fingerprint,
        teacher_fingerprint=teacher.fingerprint,
        command=run.command,
    )
