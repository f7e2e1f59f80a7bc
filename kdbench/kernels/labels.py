"""Class labels of rows, in plain torch operations that survive labels out of range."""

from __future__ import annotations

from torch import Tensor

from kdbench.kernels.tracing import traced


def in_range(labels: Tensor, classes: int) -> Tensor:
    """Labels (N,) with those outside [0, classes) moved to the nearest class, so that they can index."""
    return labels.clamp(0, max(0, classes - 1))


def out_of_range(labels: Tensor, classes: int) -> Tensor:
    """Which labels (N,) are outside [0, classes)."""
    return (labels < 0) | (labels >= classes)


def some(mask: Tensor) -> bool:
    """Whether any value is True: looked at on the CPU; elsewhere, and in traces, taken to be so."""
    return mask.device.type != "cpu" or traced() or bool(mask.any())
