"""How long data takes that does not fit into memory: `python tests/benchmarks/bench_disk.py`.

Makes pictures in a directory that goes afterwards, and prepares them with so little memory said to be free that they
go to disk: decoding, the passes over the file (copies, statistics, fingerprint), and both once more, when they are
kept. Then the same pictures in memory, and the share of its steps' time that the trainer waits for batches either way:
cnn-s, by labels alone. With `--memory` what NumPy and Python hold at most (tracemalloc, which takes its time; without
the mapped file) instead of training.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image

from kdbench.engine.datasets import Dataset, prepare
from kdbench.engine.models import build_model, inspect_model
from kdbench.engine.signals import NoTeacher
from kdbench.engine.teachers import Supervised
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.method import Pair
from kdbench.plugins import load_plugins
from kdbench.recipe import Recipe
from kdbench_data import folders, memory

STUDENT, BATCH = "cnn-s", 128


def make(root: Path, items: int, side: int) -> None:
    """JPEGs of smooth noise in 20 classes, one of seven for the test."""
    noise = np.random.default_rng(0).integers(0, 256, (items, 8, 8, 3), dtype=np.uint8)
    for number, small in enumerate(noise):
        file = root / ("test" if number % 7 == 0 else "train") / f"class-{number % 20:02d}" / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR).save(file, quality=90)


def load(argument: str, what: str) -> Dataset:
    """The dataset, its seconds printed, and its memory where that is traced."""
    started = time.perf_counter()
    data = folders.image_folder(argument)
    read = time.perf_counter()
    dataset = prepare("pictures", data, fold=None, folds=None)
    done = time.perf_counter()
    held = f"{tracemalloc.get_traced_memory()[1] / 1e6:.0f} MB held at most, " if tracemalloc.is_tracing() else ""
    tracemalloc.reset_peak()
    print(
        f"{what}: read {read - started:.2f} s, prepare {done - read:.2f} s, {held}"
        f"pictures of {data.views()['input'].nbytes / 1e6:.0f} MB, fingerprint {dataset.fingerprint[:16]}",
        flush=True,
    )
    return dataset


def wait(dataset: Dataset, device: str, what: str, steps: int) -> None:
    """Print what part of an epoch's time went into getting batches."""
    catalog, info = load_plugins().catalog, dataset.info(None)
    entry, fabric = catalog.find("student", STUDENT), Fabric(accelerator=device, devices=1)
    views = Views.of(dataset.train, info.view, info.view, fabric.device, dataset.task)
    model = fabric.to_device(build_model(entry, info))
    described = inspect_model(model, entry, info, views.student[:2], ())
    recipe = Recipe(epochs=2, batch_size=BATCH)
    trainer = Trainer(
        fabric=fabric, method=Supervised(), pair=Pair(info, described, None, 2, steps), teacher=NoTeacher(),
        train=views, validation=views, recipe=recipe, seed=0,
    )  # fmt: skip
    trainer.train_epoch(0)
    before = trainer.seconds, trainer.batch_seconds, trainer.steps
    trainer.train_epoch(1)
    total, waited = trainer.seconds - before[0], trainer.batch_seconds - before[1]
    count = trainer.steps - before[2]
    print(
        f"{what}, {STUDENT} on {device}, batch {BATCH}, {torch.get_num_threads()} threads: {total / count * 1e3:.1f} "
        f"ms a step, of which {waited / count * 1e3:.3f} ms are the wait for the batch: {waited / total:.1%}"
    )


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=64, help="pixels, after scaling")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true", help="trace memory; do not train")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["KDBENCH_CACHE"] = f"{name}/cache"
        make(Path(name) / "all", arguments.items, arguments.side + arguments.side // 8)
        argument = f"{name}/all?size={arguments.side}"
        if arguments.memory:
            tracemalloc.start()
        truth = memory.available_bytes
        memory.available_bytes = lambda: 0
        load(argument, "on disk, decoded")
        dataset = load(argument, "on disk, kept")
        steps = arguments.items // BATCH
        if not arguments.memory:
            wait(dataset, arguments.device, "on disk", steps)
        memory.available_bytes = truth
        dataset = load(argument, "in memory")
        if not arguments.memory:
            wait(dataset, arguments.device, "in memory", steps)


if __name__ == "__main__":
    main()
