"""Every loss of every back end that is there, compared with its formula in float64: `kdbench kernels check`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import msgspec
import torch
from torch import Tensor

from kdbench import kernels
from kdbench.kernels import loading
from kdbench.kernels.plain import TEMPERATURE, Example, Loss, losses

SHAPES = ((128, 10), (7, 1), (33, 127), (16, 1000), (3, 32_001))

_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 1e-3}
_ROUNDED = 10.0
"""Times the tolerance, where other code rounds too: torch's own operators, and products of matrices."""


class Result(msgspec.Struct, frozen=True):
    """A loss of one back end at one shape: relative errors against float64, of the worst of its ways to be called.

    `loss` is in units of T² where the true loss is 0; `gradient` is of the norm, and does not count what the type
    cannot hold (float16 gradients below 6e-8). `tolerance` is what the gradient may differ, `loss_tolerance` the loss,
    which is float32 for half-precision logits.
    """

    name: str
    backend: str
    device: str
    dtype: str
    rows: int
    classes: int
    loss: float
    gradient: float
    tolerance: float
    loss_tolerance: float

    @property
    def ok(self) -> bool:
        """Whether it is within its tolerance; NaN is not."""
        return self.loss <= self.loss_tolerance and self.gradient <= self.tolerance


def available_backends() -> list[tuple[kernels.Backend, str]]:
    """Each back end that can be had, with a device that it serves. Builds what is not built."""
    found: list[tuple[kernels.Backend, str]] = [("torch", "cpu")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", loading.KernelsUnavailable)  # `kdbench kernels info` says why
        if loading.load_cpu() is not None:
            found.append(("cpu", "cpu"))
        if torch.cuda.is_available():
            found.append(("torch", "cuda"))
            if loading.load_cuda() is not None:
                found.append(("cuda", "cuda"))
    return found


def check_losses(
    backend: tuple[kernels.Backend, str],
    chosen: Sequence[Loss] | None = None,
    shapes: Sequence[tuple[int, int]] = SHAPES,
) -> Iterator[Result]:
    """Compare the losses through autograd and through their `..._and_grad` twins."""
    name, device = backend
    for loss in losses() if chosen is None else chosen:
        for dtype in loss.dtypes:
            for rows, classes in shapes:
                if classes < loss.least_classes:
                    continue
                example = loss.example(rows, classes, dtype, device)
                with kernels.use_backend(name):
                    errors = _errors(loss, example)
                factor = _ROUNDED if name == "torch" or not loss.exact else 1.0
                yield Result(
                    loss.name, name, device, str(dtype).removeprefix("torch."), rows, classes, *errors,
                    tolerance=_TOLERANCE[dtype] * factor,
                    loss_tolerance=_TOLERANCE[dtype if dtype is torch.float64 else torch.float32] * factor,
                )  # fmt: skip


def render(results: Sequence[Result]) -> str:
    """A table of the results, with what failed at its end again."""
    header = ("loss", "back end", "device", "dtype", "rows x V", "loss error", "gradient error", "tolerance", "")
    table = [header, *(_cells(result) for result in results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    failed = [line for line, result in zip(lines[1:], results, strict=True) if not result.ok]
    if failed:
        return "\n".join([*lines, "", f"{len(failed)} of {len(results)} are out of tolerance:", *failed])
    return "\n".join([*lines, "", f"all {len(results)} are within their tolerance"])


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.name, result.backend, result.device, result.dtype, f"{result.rows} x {result.classes}",
        f"{result.loss:.1e}", f"{result.gradient:.1e}", f"{result.tolerance:.0e}", "ok" if result.ok else "FAILED",
    )  # fmt: skip


def _errors(loss: Loss, example: Example) -> tuple[float, float]:
    """Relative errors of the loss and of all gradients together, the worse of the two ways to call it."""
    exact = Example(tuple(leaf.double().requires_grad_() for leaf in example.leaves), _double(example.others))
    true_loss = loss.plain(exact)
    true_gradients = torch.autograd.grad(true_loss, exact.leaves)
    leaves = tuple(leaf.clone().requires_grad_() for leaf in example.leaves)
    value = loss.fused(Example(leaves, example.others))
    gradients = torch.autograd.grad(value, leaves)
    twin_value, *twin_gradients = loss.and_grad(example)
    return (
        max(_relative([value], [true_loss]), _relative([twin_value], [true_loss])),
        max(_relative(gradients, true_gradients), _relative(twin_gradients, true_gradients)),
    )


def _double(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors)


def _relative(found: Sequence[Tensor], true: Sequence[Tensor]) -> float:
    """|found - true| / |true|, and |found - true| / T² where the truth is 0; NaN where anything is."""
    differences = [
        ((a.detach().double() - b.detach()).norm() - _least_step(a.dtype) * a.numel() ** 0.5).clamp(min=0)
        for a, b in zip(found, true, strict=True)
    ]
    size = float(torch.stack([b.detach().norm() for b in true]).norm())
    return float(torch.stack(differences).norm()) / (size if size > 1e-12 else TEMPERATURE**2)


def _least_step(dtype: torch.dtype) -> float:
    """Half the distance of the type's subnormal numbers: what rounding the smallest of gradients costs."""
    info = torch.finfo(dtype)
    return info.smallest_normal * info.eps / 2
