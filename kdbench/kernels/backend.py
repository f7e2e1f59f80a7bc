"""Which implementation of the losses runs: chosen by device, forced by KDBENCH_KERNELS or `use_backend`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, get_args

from kdbench.errors import UsageError
from kdbench.names import did_you_mean

if TYPE_CHECKING:
    import torch

Backend = Literal["cuda", "cpu", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
VARIABLE = "KDBENCH_KERNELS"

_forced: ContextVar[Backend | None] = ContextVar("kdbench_kernels_backend", default=None)


def backend_name(device: torch.device | str) -> Backend:
    """The back end that serves tensors on the device: the forced one, else the fastest there is.

    Raises: UsageError for an unknown name in KDBENCH_KERNELS, or a back end that is not built.
    """
    asked = _forced.get() or _from_environment()
    if asked not in {None, "torch"}:
        raise UsageError(
            f"kernel back end {asked!r} is not built",
            f"asked for on device {device}",
            f"unset {VARIABLE}, or use 'torch'",
        )
    return "torch"


@contextmanager
def use_backend(name: Backend | None) -> Iterator[None]:
    """Force a back end within the block; None gives the choice back to KDBENCH_KERNELS and the device.

    Raises: UsageError for an unknown name.
    """
    token = _forced.set(None if name is None else _checked(name, "use_backend"))
    try:
        yield
    finally:
        _forced.reset(token)


def _from_environment() -> Backend | None:
    value = os.environ.get(VARIABLE, "")
    return _checked(value, VARIABLE) if value and value != "auto" else None


def _checked(name: str, place: str) -> Backend:
    for known in BACKENDS:
        if name == known:
            return known
    raise UsageError(
        f"{place}: unknown kernel back end {name!r}", did_you_mean(name, BACKENDS), "known: cuda, cpu, torch"
    )
