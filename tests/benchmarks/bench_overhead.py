"""What the harness adds to a training step: `python tests/benchmarks/bench_overhead.py`.

The same model, loss (soft targets with stored teacher logits), optimiser, schedule and data in memory, once in a loop
written by hand and once in kdbench's trainer, epoch by epoch in turn in one process; medians of the time per step.
"""

from __future__ import annotations

import math
import statistics
import time

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import kdbench
from kdbench.catalog import Entry
from kdbench.data import DatasetInfo
from kdbench.engine.models import build_model, inspect_model
from kdbench.engine.signals import StoredTeacher
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.method import Pair
from kdbench.plugins import load_plugins
from kdbench.recipe import Recipe

CASES = (
    # student, input shape, classes, items, epochs, figure to reach
    ("resnet8x4", (3, 32, 32), 100, 64 * 6, 8, 0.03),
    ("mlp-s", (1, 8, 8), 10, 1088, 120, 0.15),
)
BATCH, TEMPERATURE, ALPHA = 64, 4.0, 0.9


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor, Tensor], epochs: int):
    """A generator that trains one epoch at every `next`."""
    inputs, labels, teacher = data
    steps, step = epochs * (len(labels) // BATCH), 0
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
        terms = []
        for index in order.split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / steps))
            logits = model(inputs[index])
            ce = (1 - ALPHA) * nn.functional.cross_entropy(logits, labels[index])
            kd = ALPHA * kdbench.kernels.kd_kl(logits, teacher[index], TEMPERATURE)
            optimizer.zero_grad(set_to_none=True)
            (ce + kd).backward()
            optimizer.step()
            terms.append((ce.detach(), kd.detach()))
            step += 1
        mean = torch.stack([torch.stack(pair) for pair in terms]).mean(0)
        if not mean.isfinite().all():
            raise RuntimeError("diverged")
        yield


def by_kdbench(trainer: Trainer, epochs: int):
    """A generator that trains one epoch of the trainer at every `next`, without validation."""
    for epoch in range(epochs):
        trainer.train_epoch(epoch)
        yield


def compare(student: str, shape: tuple[int, ...], classes: int, items: int, epochs: int) -> tuple[float, float]:
    """Median seconds per step, by hand and by kdbench."""
    torch.manual_seed(0)
    inputs, labels = torch.randn(items, *shape), torch.randint(classes, (items,))
    teacher_logits = torch.randn(items, classes)
    catalog = load_plugins().catalog
    entry: Entry = catalog.find("student", student)
    info = DatasetInfo("random", "multiclass", classes, shape, items)
    recipe = Recipe(epochs=epochs, batch_size=BATCH)
    hand_model, model = build_model(entry, info), build_model(entry, info)
    optimizer = torch.optim.SGD(hand_model.parameters(), 0.05, 0.9, weight_decay=recipe.weight_decay, fused=True)
    method = catalog.find("method", "kd").load()(temperature=TEMPERATURE, alpha=ALPHA)
    described = inspect_model(model, entry, info, inputs[:2], ())
    views = Views(inputs, inputs, labels)
    trainer = Trainer(
        fabric=Fabric(accelerator="cpu", devices=1),
        method=method,
        pair=Pair(info, described, described, epochs, items // BATCH),
        teacher=StoredTeacher(model, {"logits": teacher_logits}, 0),
        train=views,
        validation=views,
        recipe=recipe,
        seed=0,
    )
    loops = {
        "hand": by_hand(hand_model, optimizer, (inputs, labels, teacher_logits), epochs),
        "kdbench": by_kdbench(trainer, epochs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for epoch in range(epochs):
        for name in sorted(loops, reverse=bool(epoch % 2)):
            started = time.perf_counter()
            next(loops[name])
            seconds[name].append((time.perf_counter() - started) / (items // BATCH))
    return statistics.median(seconds["hand"][1:]), statistics.median(seconds["kdbench"][1:])


def main() -> None:
    """Print a table for one and two threads."""
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for student, shape, classes, items, epochs, figure in CASES:
            hand, ours = compare(student, shape, classes, items, epochs)
            print(
                f"{student:10} batch {BATCH}, {threads} threads: by hand {hand * 1e3:7.3f} ms/step, "
                f"kdbench {ours * 1e3:7.3f} ms/step, overhead {ours / hand - 1:+.1%} (figure to reach: {figure:.0%})"
            )


if __name__ == "__main__":
    main()
