"""The losses measured side by side: fused, in eager torch, and compiled by torch, interleaved in one process."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from kdbench import kernels
from kdbench.kernels.plain import Example, Loss, kl_of_logs, losses
from kdbench.kernels.status import status
from kdbench.version import __version__

Say = Callable[[str], None]

CPU_SHAPES = ((128, 10), (128, 100), (1024, 100), (1024, 1000), (256, 32_000), (64, 128_256))
GPU_SHAPES = ((1024, 1000), (4096, 32_000), (256, 128_256))
QUICK_SHAPES = ((128, 100), (1024, 1000))
OTHER_LOSSES_SHAPE = (1024, 1000)

_SAMPLE_SECONDS = 2e-3
"""One sample times a contestant for at least this long, so that the clock's own cost is lost in it."""


class Spread(msgspec.Struct, frozen=True):
    """A median and the quartiles around it."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Row(msgspec.Struct, frozen=True):
    """One loss at one shape.

    Args:
        microseconds: by contestant. "fused": `kd_*(...)` and its backward; "and_grad": `kd_*_and_grad(...)`; "eager":
            the formula in torch and its backward; "compiled": the formula through torch.compile and its backward;
            "eager_logs" beside kd_kl: the formula on the teacher's log-probabilities and its backward; "kd_kl" beside
            kd_hinton: `kd_kl(...)` of the same logits and its backward; "copy": copying half of
            3 · rows · classes · size of dtype, the least bytes that and_grad moves, from one place to another.
        ratios: of one round's times, as "eager / fused": above 1 where the second is faster. "copy / and_grad" is the
            share of a copy's bytes/s that and_grad reaches.
        notes: why a contestant is missing.
    """

    loss: str
    rows: int
    classes: int
    dtype: str
    backend: str
    microseconds: dict[str, Spread]
    ratios: dict[str, Spread]
    notes: list[str]


def machine(device: str | None = None) -> dict[str, str]:
    """What the numbers were measured on."""
    where = _device(device)
    described = status("cuda" if where == "cuda" else "cpu")
    return {
        "device": torch.cuda.get_device_name() if where == "cuda" else _processor(),
        "threads": str(torch.get_num_threads()),
        "load": f"{os.getloadavg()[0]:.1f} in the last minute" if hasattr(os, "getloadavg") else "unknown",
        "kdbench": __version__,
        "torch": str(torch.__version__),
        "CUDA": torch.version.cuda or "none",
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "kernels": f"{described.state} {described.isa} {described.compiler.rpartition('/')[2]}".strip(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def measure_all(*, quick: bool = False, device: str | None = None, say: Say = lambda _: None) -> list[Row]:
    """`kd_kl` and `kd_hinton` at every shape, and every other loss at one."""
    where = _device(device)
    dtype = torch.bfloat16 if where == "cuda" else torch.float32
    shapes = QUICK_SHAPES if quick else GPU_SHAPES if where == "cuda" else CPU_SHAPES
    everywhere = [loss for loss in losses() if loss.name in {"kd_kl", "kd_hinton"}]
    elsewhere = [loss for loss in losses() if loss.name not in {"kd_kl", "kd_hinton"}]
    rows = []
    for loss, shape in [*product(everywhere, shapes), *product(elsewhere, [OTHER_LOSSES_SHAPE])]:
        compiled = loss.name == "kd_kl" and not quick
        rows.append(measure(loss, *shape, dtype, where, compiled=compiled, rounds=15 if quick else 41))
        say(_line(rows[-1]))
    return rows


def measure(
    loss: Loss,
    rows: int,
    classes: int,
    dtype: torch.dtype,
    device: str,
    *,
    compiled: bool = False,
    rounds: int = 41,
) -> Row:
    """Measure one loss at one shape."""
    example = loss.example(rows, classes, dtype, device)
    contestants: dict[str, Callable[[], object]] = {
        "fused": _with_backward(loss.fused, example),
        "and_grad": lambda: loss.and_grad(example),
        "eager": _with_backward(loss.plain, example),
    }
    if loss.exact:
        contestants["copy"] = _copy(3 * rows * classes * dtype.itemsize // 2, device)
    if loss.name == "kd_kl":
        contestants["eager_logs"] = _with_backward(lambda one: kl_of_logs(one.leaves[0], *one.others), example)
    if loss.name == "kd_hinton":
        alone = next(one for one in losses() if one.name == "kd_kl")
        contestants["kd_kl"] = _with_backward(alone.fused, alone.example(rows, classes, dtype, device))
    notes = []
    if compiled:
        try:
            contestants["compiled"] = _compiled(loss, example)
        except Exception as error:  # noqa: BLE001 - it is one column; whatever torch raises is told in the row
            notes.append(f"torch.compile: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    samples = interleaved(contestants, rounds, device)
    pairs = [("eager", "fused"), ("eager", "and_grad"), ("compiled", "fused"), ("compiled", "and_grad")]
    pairs += [("eager_logs", "fused"), ("fused", "kd_kl"), ("copy", "and_grad")]
    return Row(
        loss.name, rows, classes, str(dtype).removeprefix("torch."), kernels.backend_name(torch.device(device)),
        microseconds={name: spread([1e6 * value for value in values]) for name, values in samples.items()},
        ratios={
            f"{slow} / {fast}": spread([a / b for a, b in zip(samples[slow], samples[fast], strict=True)])
            for slow, fast in pairs
            if slow in samples and fast in samples
        },
        notes=notes,
    )  # fmt: skip


def interleaved(contestants: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of a call of each contestant in each round; every round times all of them, one after the other."""
    calls = {}
    for name, call in contestants.items():
        for _ in range(3):
            call()
        single = min(_seconds(call, 1, device) for _ in range(3))
        calls[name] = max(1, round(_SAMPLE_SECONDS / max(single, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            samples[name].append(_seconds(call, calls[name], device))
    return samples


def spread(values: Sequence[float]) -> Spread:
    """Their quartiles."""
    low, median, high = torch.tensor(values, dtype=torch.float64).quantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    )
    return Spread(float(low), float(median), float(high))


def render(facts: dict[str, str], rows: Sequence[Row]) -> str:
    """The table, below what it was measured on."""
    header: tuple[str, ...] = ("loss", "rows x V", "dtype", "back end", "eager us", "compiled us", "fused us")
    header += ("and_grad us", "eager / fused", "eager / and_grad", "compiled / fused", "fused / kd_kl", "of a copy")
    table = [header, *(_cells(row) for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
    ]
    notes = list(dict.fromkeys(note for row in rows for note in row.notes))
    about = [f"{name}: {value}" for name, value in facts.items()]
    return "\n".join([*about, "", *lines, *notes, "", "medians of interleaved rounds; ratios with their quartiles"])


def _cells(row: Row) -> tuple[str, ...]:
    times = (f"{row.microseconds[name].median:.1f}" if name in row.microseconds else "-"
             for name in ("eager", "compiled", "fused", "and_grad"))  # fmt: skip
    ratios = (str(row.ratios.get(name, "-"))
              for name in ("eager / fused", "eager / and_grad", "compiled / fused", "fused / kd_kl"))  # fmt: skip
    share = row.ratios.get("copy / and_grad")
    of_a_copy = "-" if share is None else f"{share.median:.0%}"
    return (row.loss, f"{row.rows} x {row.classes}", row.dtype, row.backend, *times, *ratios, of_a_copy)


def _line(row: Row) -> str:
    return f"{row.loss} {row.rows} x {row.classes}: eager / fused {row.ratios['eager / fused']}"


def _with_backward(loss: Callable[[Example], Tensor], example: Example) -> Callable[[], object]:
    leaves = tuple(leaf.clone().requires_grad_() for leaf in example.leaves)
    own = Example(leaves, example.others)

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        torch.autograd.backward(loss(own))

    return call


def _copy(size: int, device: str) -> Callable[[], object]:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _compiled(loss: Loss, example: Example) -> Callable[[], object]:
    torch.compiler.reset()  # or it would recompile for each shape until it gives up
    compiled = torch.compile(loss.plain, fullgraph=True, dynamic=False)
    call = _with_backward(compiled, example)
    call()
    return call


def _seconds(call: Callable[[], object], times: int, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        call()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / times


def _device(asked: str | None) -> str:
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
