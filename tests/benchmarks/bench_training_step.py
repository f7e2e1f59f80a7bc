"""How much of a training step the loss is: `python tests/benchmarks/bench_training_step.py`.

Whole steps (forward, loss, backward, SGD), with Hinton's objective in eager torch and fused, and without a teacher, in
turn in one process; medians. The shares are of the step with the eager loss.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.data import DatasetInfo
from kdbench.engine.models import build_model
from kdbench.kernels import kd_hinton, linear_kd_kl
from kdbench.kernels.status import status
from kdbench.plugins import load_plugins

TEMPERATURE, ALPHA = 4.0, 0.9
Step = Callable[[], None]


def eager_objective(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Hinton's objective as most code writes it."""
    log_q, p = functional.log_softmax(student / TEMPERATURE, -1), functional.softmax(teacher / TEMPERATURE, -1)
    kd = functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
    return (1 - ALPHA) * functional.cross_entropy(student, labels) + ALPHA * kd


def image_steps() -> dict[str, Step]:
    """resnet8x4 at batch 64 and 100 classes, teacher logits at hand."""
    info = DatasetInfo("random", "multiclass", 100, (3, 32, 32), 64)
    model = build_model(load_plugins().catalog.find("student", "resnet8x4"), info)
    inputs, labels, teacher = torch.randn(64, 3, 32, 32), torch.randint(100, (64,)), torch.randn(64, 100)
    return _steps(
        model,
        {
            "eager": lambda: eager_objective(model(inputs), teacher, labels),
            "fused": lambda: kd_hinton(model(inputs), teacher, labels, TEMPERATURE, ALPHA).loss,
            "labels only": lambda: functional.cross_entropy(model(inputs), labels),
        },
    )


def head_steps(rows: int = 256, width: int = 256, classes: int = 32_000) -> dict[str, Step]:
    """A small language model's last layer and head, the teacher's head included."""
    body, head = nn.Sequential(nn.Linear(width, width), nn.GELU()), nn.Linear(width, classes, bias=False)
    inputs, labels = torch.randn(rows, width), torch.randint(classes, (rows,))
    teacher_hidden, teacher_weight = torch.randn(rows, width), torch.randn(classes, width) / width**0.5

    def logits() -> Tensor:
        with torch.no_grad():
            return teacher_hidden @ teacher_weight.T

    def by_chunks() -> Tensor:
        hidden = body(inputs)
        return linear_kd_kl(
            hidden, head.weight, teacher_hidden, teacher_weight, TEMPERATURE, labels=labels, alpha=ALPHA
        )

    return _steps(
        nn.Sequential(body, head),
        {
            "eager": lambda: eager_objective(head(body(inputs)), logits(), labels),
            "fused": lambda: kd_hinton(head(body(inputs)), logits(), labels, TEMPERATURE, ALPHA).loss,
            "head by chunks": by_chunks,
            "labels only": lambda: functional.cross_entropy(head(body(inputs)), labels),
        },
    )


def _steps(model: nn.Module, losses: dict[str, Callable[[], Tensor]]) -> dict[str, Step]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)

    def step(loss: Callable[[], Tensor]) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return {name: (lambda loss=loss: step(loss)) for name, loss in losses.items()}


def medians(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= 2:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print a table."""
    torch.manual_seed(0)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"kernels: {status('cpu').state} {status('cpu').isa}")
    for title, steps, rounds in (
        ("resnet8x4, batch 64, 100 classes", image_steps(), 30),
        ("head of 32,000 classes, 256 rows", head_steps(), 15),
    ):
        found = medians(steps, rounds)
        print(title)
        for name, value in found.items():
            print(f"  {name:15} {value * 1e3:8.2f} ms/step, {value / found['eager']:6.1%} of eager")
        print(f"  the fused loss saves {1 - found['fused'] / found['eager']:.1%} of a step")


if __name__ == "__main__":
    main()
