"""What a training step of every method costs beside kd's: `python tests/benchmarks/bench_methods.py --out cost.json`.

For every method that serves a pair, its step and kd's are taken in turn in one process, with the engine's own trainer
and the teacher's signals in the bank; the ratio is of the medians. Memory is the most that one step's tensors held at
once, beyond what was held before it: parameters, optimiser state, the method's memories and the bank are not in it. A
method that takes over the training, or has stages, has no step to compare: its whole training of two epochs is timed
beside kd's.

Arithmetic is the operations of a step's matrix products and convolutions.

A call goes on where the last one with the same --out stopped, and ends after --seconds; --markdown prints the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from kdbench.catalog import Catalog
from kdbench.engine.context import EpochListener, RunContext, make_fabric
from kdbench.engine.models import build_model
from kdbench.engine.pairs import make_pair
from kdbench.engine.peers import ALONE as NO_PEERS
from kdbench.engine.provenance import provenance
from kdbench.engine.seeding import seed_global
from kdbench.engine.teachers import obtain_teacher, teacher_source
from kdbench.engine.train import Trainer
from kdbench.errors import KdbenchError
from kdbench.kernels import backend_name
from kdbench.method import Method
from kdbench.place import ALONE
from kdbench.plan import Repeats, Run, make_plan
from kdbench.plugins import describe, load_plugins
from kdbench.select import Selection

PAIRS = {
    "images": {"dataset": ("digits",), "teacher": ("cnn-l",), "student": ("cnn-s",), "recipe": ("standard",)},
    "equal widths": {
        "dataset": ("digits",), "teacher": ("resnet20",), "student": ("resnet8",), "recipe": ("standard",),
    },
    "language": {"dataset": ("python-topics",), "teacher": ("lm-l",), "student": ("lm-s",), "recipe": ("language",)},
}  # fmt: skip
YARDSTICK = {"images": "kd", "equal widths": "kd", "language": "word_kd"}
ONLY = {"equal widths": ("scratch", "kd", "fsp")}
"""Of a pair that is there for the sake of a few methods."""
WARM_UP, EPOCHS = 3, 2
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Bench:
    """One pair, with its teacher in the bank."""

    pair: str
    catalog: Catalog
    context: RunContext

    def run(self, method: str) -> Run:
        """The planned run of a method. Raises: KdbenchError where it cannot be planned."""
        settings = [f"recipe.epochs={EPOCHS}", f"teacher_recipe.epochs={EPOCHS}"]
        return make_plan(self.catalog, Selection(**PAIRS[self.pair], method=(method,)), settings, Repeats((0,))).runs[0]

    def trainer(self, method: str) -> Trainer:
        """As the engine makes it. Raises: KdbenchError, a refusal above all."""
        run = self.run(method)
        made: Method = self.catalog.find("method", method).load()(**run.params)
        fabric = make_fabric(run, "32-true", ALONE)
        data = self.context.data(run, fabric.device)
        seed_global(0, "student")
        info = data.dataset.info(None)
        student = build_model(self.catalog.find("student", run.combo.student), info)
        untrained = build_model(self.catalog.find("teacher", run.combo.teacher), info)
        make_pair(run, self.catalog, data, student, untrained, made)  # a refusal comes before the teacher is trained
        teacher = obtain_teacher(run, self.context, data, EpochListener())
        pair = make_pair(run, self.catalog, data, student, teacher.module, made)
        source = teacher_source(run, made, teacher, data.train, tuple, NO_PEERS)
        seed_global(0, "training")
        return Trainer(
            fabric=fabric, method=made, pair=pair, teacher=source, train=data.train, validation=data.validation,
            recipe=run.recipe, seed=0,
        )  # fmt: skip

    def measure(self, name: str, seconds: float) -> Row:
        """A method's row: its cost beside the yardstick's, or why it has none."""
        row: Row = {"pair": self.pair, "method": name}
        try:
            one, other = self.trainer(name), self.trainer(YARDSTICK[self.pair])
        except KdbenchError as error:
            return row | {"refused": describe(error)}
        staged = type(one.method).may_choose is not Method.may_choose
        whole = staged or type(one.method).fit is not Method.fit
        try:
            found = _trainings(one, other, seconds) if whole else _steps(one, other, seconds)
        except KdbenchError as error:
            return row | {"failed": describe(error)}
        finally:
            one.close()
            other.close()
        return row | {"whole_training": whole, "own_step": type(one.method).step is not Method.step, **found}


def _steps(one: Trainer, other: Trainer, seconds: float) -> Row:
    trainers = (one, other)
    for trainer in trainers:
        _train_mode(trainer)
    streams, times = [_endless(trainer) for trainer in trainers], ([], [])
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(times[0]) < WARM_UP + 5:
        for stream, taken in zip(streams, times, strict=True):
            before = time.perf_counter()
            next(stream)
            taken.append(time.perf_counter() - before)
    ours, kd = (statistics.median(taken[WARM_UP:]) for taken in times)
    memory = [_peak_bytes(stream) for stream in streams]
    flops = [_flops(stream) for stream in streams]
    return {
        "ms": ours * 1e3,
        "yardstick_ms": kd * 1e3,
        "time": ours / kd,
        "rounds": len(times[0]) - WARM_UP,
        "peak_bytes": memory[0],
        "yardstick_peak_bytes": memory[1],
        "memory": memory[0] / memory[1],
        "flops": flops[0],
        "arithmetic": flops[0] / flops[1],
    }


def _train_mode(trainer: Trainer) -> None:
    trainer.model.train()
    if trainer.method.module is not None:
        trainer.method.module.train()


def _endless(trainer: Trainer) -> Any:
    """A whole step for each `next`: the batch, the method's step. An epoch's rest, being smaller, is left out."""
    size = min(trainer.recipe.batch_size, len(trainer.train_data.labels))
    while True:
        for batch in trainer.batches(0):
            if len(batch.labels) == size:
                trainer.method.step(trainer, batch)
                yield


def _peak_bytes(stream: Any) -> int:
    """The most that one step's tensors held at once, in bytes beyond what was held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        next(stream)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _flops(stream: Any) -> int:
    """Operations of one step's matrix products and convolutions, backward passes among them, as torch counts them."""
    with _Operations() as counter:
        next(stream)
    return counter.total


class _Operations(TorchDispatchMode):
    """Counts with torch's formulas; its own FlopCounterMode does not allow `torch.autograd.grad`."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _trainings(one: Trainer, other: Trainer, seconds: float) -> Row:
    taken = []
    for trainer in (other, one):
        before = time.perf_counter()
        trainer.method.fit(trainer)
        taken.append(time.perf_counter() - before)
    kd, ours = taken
    return {"ms": ours * 1e3, "yardstick_ms": kd * 1e3, "time": ours / kd, "rounds": 1}


def markdown(found: dict[str, Any]) -> str:
    """The table of every pair, the cheapest first."""
    lines = []
    for pair, yardstick in YARDSTICK.items():
        rows = [row for row in found["rows"] if row["pair"] == pair]
        timed = sorted((row for row in rows if "time" in row), key=lambda row: row["time"])
        axes = PAIRS[pair]
        title = f"## {axes['dataset'][0]}, {axes['teacher'][0]} → {axes['student'][0]}, beside {yardstick}"
        lines += [
            title,
            "",
            "| method | step, ms | time × | arithmetic × | step memory, MiB | memory × |",
            "| --- | --: | --: | --: | --: | --: |",
        ]
        for row in timed:
            if not row["whole_training"]:
                lines.append(
                    f"| {row['method']} | {row['ms']:.2f} | {row['time']:.2f} | {row['arithmetic']:.2f} "
                    f"| {row['peak_bytes'] / 2**20:.2f} | {row['memory']:.2f} |"
                )
        lines += ["", f"Trainings of their own, whole ({EPOCHS} epochs), once each:", ""]
        lines += ["| method | training, s | × |", "| --- | --: | --: |"]
        for row in timed:
            if row["whole_training"]:
                lines.append(f"| {row['method']} | {row['ms'] / 1e3:.2f} | {row['time']:.2f} |")
        lines += [""]
        for row in rows:
            if reason := row.get("refused") or row.get("failed"):
                lines.append(f"- {row['method']}: {reason}")
        lines += [""]
    return "\n".join(lines)


def main() -> None:
    """Measure what --out lacks, for --seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("bench-methods"), help="where the teachers are kept")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--each", type=float, default=1.0, help="seconds for a method and its yardstick together")
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    if options.markdown:
        print(markdown(found))
        return
    deadline, catalog = time.monotonic() + options.seconds, load_plugins().catalog
    made_by = provenance(
        plugins={}, device="cpu", workers=1, deterministic=True, kernel_backend=backend_name(torch.device("cpu")),
        dataset_fingerprint="", teacher_fingerprint="", command="python tests/benchmarks/bench_methods.py",
    )  # fmt: skip
    found["provenance"] = msgspec.to_builtins(made_by)
    done = {(row["pair"], row["method"]) for row in found["rows"]}
    for pair in PAIRS:
        bench = Bench(pair, catalog, RunContext(catalog, options.work, plugins={}, workers=1))
        task = catalog.find("dataset", PAIRS[pair]["dataset"][0]).metadata["task"]
        for entry in catalog.entries("method"):
            if (pair, entry.name) in done or entry.missing or (options.methods and entry.name not in options.methods):
                continue
            if task not in entry.load().tasks or entry.name not in ONLY.get(pair, (entry.name,)):
                continue
            if time.monotonic() > deadline:
                print("time is up; call again to go on")
                return
            row = bench.measure(entry.name, options.each)
            found["rows"].append(row)
            options.out.write_text(json.dumps(found, indent=1) + "\n")
            print(json.dumps(row))
    print("complete")


if __name__ == "__main__":
    main()
