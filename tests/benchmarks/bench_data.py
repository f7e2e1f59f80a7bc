"""How long data takes: `kdbench data fetch fashion-mnist && python tests/benchmarks/bench_data.py`.

Loading: Fashion-MNIST's files, read before, to tensors that can be trained on (read, checked, duplicates removed,
split, standardised, fingerprinted); each time in a process of its own, libraries imported before the clock starts.
Training: the share of its steps' time that kdbench's trainer waits for batches, cnn-s on Fashion-MNIST from stored
teacher logits.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import torch
from lightning_fabric import Fabric

from kdbench.engine.augment import augmentation
from kdbench.engine.datasets import Dataset, prepare, read
from kdbench.engine.models import build_model, inspect_model
from kdbench.engine.signals import StoredTeacher
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.method import Pair
from kdbench.plugins import load_plugins
from kdbench.recipe import Recipe

DATASET, STUDENT, METHOD = "fashion-mnist", "cnn-s", "kd"
FIGURE_SECONDS, FIGURE_SHARE = 2.0, 0.05


def load() -> tuple[Dataset, float, float]:
    """The dataset, and the seconds to read its files and to prepare it."""
    entry = load_plugins().catalog.find("dataset", DATASET)
    entry.load()
    started = time.perf_counter()
    data = read(entry)
    done = time.perf_counter()
    return prepare(DATASET, data, fold=None, folds=None), done - started, time.perf_counter() - done


def loading(times: int) -> None:
    """Print the median and the worst of several processes; the first one, which warms the files, is not counted."""
    command = [sys.executable, __file__, "--once"]
    runs = [list(map(float, subprocess.check_output(command, text=True).split())) for _ in range(times + 1)][1:]
    totals = [sum(run) for run in runs]
    parts = [statistics.median(part) for part in zip(*runs, strict=True)]
    print(
        f"loading {DATASET}, warm, {times} processes: median {statistics.median(totals):.2f} s (read {parts[0]:.2f}, "
        f"prepare {parts[1]:.2f}), worst {max(totals):.2f} s (figure to reach: {FIGURE_SECONDS:.0f} s)"
    )


def share_of_steps(dataset: Dataset, steps: int, augment: tuple[str, ...]) -> None:
    """Print what part of the steps' time went into getting batches."""
    catalog = load_plugins().catalog
    info = dataset.info(None)
    recipe = Recipe(epochs=2, batch_size=128)
    part = dataset.train.inputs[info.view][: steps * recipe.batch_size]
    views = Views(part, part, dataset.train.labels[: len(part)])
    entry = catalog.find("student", STUDENT)
    model = build_model(entry, info)
    described = inspect_model(model, entry, info, part[:2], ())
    trainer = Trainer(
        fabric=Fabric(accelerator="cpu", devices=1),
        method=catalog.find("method", METHOD).load()(),
        pair=Pair(info, described, described, recipe.epochs, steps),
        teacher=StoredTeacher(model, {"logits": torch.randn(len(part), info.num_classes)}, 0),
        train=views, validation=views, recipe=recipe, seed=0, augment=augmentation(augment) if augment else None,
    )  # fmt: skip
    trainer.train_epoch(0)
    before = trainer.seconds, trainer.batch_seconds
    trainer.train_epoch(1)
    total, waited = trainer.seconds - before[0], trainer.batch_seconds - before[1]
    print(
        f"training {STUDENT} by {METHOD} on {DATASET}, {', '.join(augment) or 'no augmentation'}, batch "
        f"{recipe.batch_size}, {torch.get_num_threads()} threads, {steps} steps: {total / steps * 1e3:.2f} ms a step, "
        f"of which {waited / steps * 1e3:.3f} ms are the wait for the batch: {waited / total:.1%} "
        f"(figure to reach: {FIGURE_SHARE:.0%})"
    )


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["loading", "training"], help="one of both figures")
    parser.add_argument("--once", action="store_true", help="load once, and print the seconds")
    parser.add_argument("--times", type=int, default=5, help="processes that load")
    parser.add_argument("--steps", type=int, default=100, help="training steps")
    arguments = parser.parse_args()
    if arguments.once:
        print(*load()[1:])
        return
    if arguments.only != "training":
        loading(arguments.times)
    if arguments.only == "loading":
        return
    dataset = load()[0]
    for augment in ((), ("crop", "flip")):
        share_of_steps(dataset, arguments.steps, augment)


if __name__ == "__main__":
    main()
