"""How long a run will take, from a few of its steps."""

from __future__ import annotations

import time

import torch
from torch import nn

from kdbench.engine.context import RunContext, RunData, make_fabric
from kdbench.engine.cost import measure_throughput
from kdbench.engine.models import build_model
from kdbench.engine.teachers import steps_per_epoch
from kdbench.engine.train import Views
from kdbench.plan import Run
from kdbench.recipe import Recipe

_STEPS = 5


def seconds_per_run(run: Run, context: RunContext) -> dict[str, float]:
    """Estimated seconds to train the run's teacher and its student, and to evaluate and measure the student.

    Each model is trained on labels for a few steps at its recipe's batch size; what a method adds is not in it.
    """
    fabric = make_fabric(run)
    data = context.data(run, fabric.device)
    combo, dataset = run.combo, data.dataset
    seconds = {}
    for kind, name, view, recipe in (
        ("teacher", combo.teacher, combo.teacher_view, run.teacher_recipe),
        ("student", combo.student, combo.student_view, run.recipe),
    ):
        entry = context.catalog.find(kind, name)  # type: ignore[arg-type]
        model = fabric.to_device(build_model(entry, dataset.info(view)))
        seconds[kind] = _training_seconds(model, _view(data, kind), recipe)
    started = time.perf_counter()
    measure_throughput(model, data.test.student)
    seconds["measure"] = time.perf_counter() - started
    return seconds


def _view(data: RunData, kind: str) -> Views:
    return data.train if kind == "student" else Views(data.train.teacher, data.train.teacher, data.train.labels)


def _training_seconds(model: nn.Module, data: Views, recipe: Recipe) -> float:
    size = min(recipe.batch_size, len(data.labels))
    inputs, labels = data.student[:size], data.labels[:size]
    times = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        torch.autograd.backward(nn.functional.cross_entropy(model(inputs), labels))
        times.append(time.perf_counter() - started)
    epochs = recipe.epochs + recipe.finetune_epochs
    return sorted(times)[len(times) // 2] * epochs * steps_per_epoch(len(data.labels), recipe.batch_size)
