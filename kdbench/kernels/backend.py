"""Which implementation of the losses runs: chosen by device, forced by KDBENCH_KERNELS or `use_backend`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from kdbench.errors import BackendUnavailable, KernelsNotBuilt, UsageError
from kdbench.kernels import loading
from kdbench.names import did_you_mean

if TYPE_CHECKING:
    import torch

Backend = Literal["cuda", "cpu", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
VARIABLE = "KDBENCH_KERNELS"

_CHOICES = (*BACKENDS, "auto")

_forced: str | None = None
"""Process-wide, and a plain variable, so that torch.compile can guard on it."""

_by_device: dict[torch.device | str, Backend] = {}
"""What KDBENCH_KERNELS and this machine give for a device: found once for each process."""


def backend_name(device: torch.device | str) -> Backend:
    """The back end that serves tensors on the device: the forced one, else the fastest there is.

    The first call for a kind of device builds or loads its kernels, and reads KDBENCH_KERNELS.

    Raises: UsageError for an unknown name in KDBENCH_KERNELS; BackendUnavailable for a forced back end that is not
    built, or that does not serve this device.
    """
    return _usual(device) if _forced is None else _forced_for(device, _forced)


@contextmanager
def use_backend(name: Backend | Literal["auto"] | None) -> Iterator[None]:
    """Force a back end within the block; "auto" is the fastest, None gives the choice back to KDBENCH_KERNELS.

    It holds for all threads of the process.

    Raises: UsageError for an unknown name.
    """
    global _forced  # noqa: PLW0603
    before = _forced
    _forced = None if name is None else _checked(name, "use_backend")
    try:
        yield
    finally:
        _forced = before


def _usual(device: torch.device | str) -> Backend:
    found = _by_device.get(device)  # asking a device for its type takes longer than all of this call
    if found is None:
        asked = _checked(os.environ.get(VARIABLE) or "auto", VARIABLE)
        found = _by_device[device] = _choose(asked, device, f"{VARIABLE}={asked}")
    return found


def _forced_for(device: torch.device | str, name: str) -> Backend:
    return _choose(name, device, f"use_backend({name!r})")


# What torch.compiler.assume_constant_result does, which would import all of torch._dynamo here. It is true: neither
# the environment nor the machine changes, and `backend_name` itself is traced, so that use_backend is guarded on.
_usual._dynamo_marked_constant = True  # type: ignore[attr-defined]
_forced_for._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _choose(name: str, device: torch.device | str, place: str) -> Backend:
    kind = device.partition(":")[0] if isinstance(device, str) else device.type
    return _fastest(kind) if name == "auto" else _required(name, kind, place)


def _fastest(kind: str) -> Backend:
    if kind == "cpu" and loading.load_cpu() is not None:
        return "cpu"
    if kind == "cuda" and loading.load_cuda() is not None:
        return "cuda"
    return "torch"


def _required(name: str, kind: str, place: str) -> Backend:
    if name == "torch":
        return "torch"
    if name != kind:
        raise BackendUnavailable(
            f"kernel back end {name!r} does not serve tensors on device {kind}", f"{place} forces it", "use 'torch'"
        )
    if name == "cpu" and loading.load_cpu(warn=False) is not None:
        return "cpu"
    if name == "cuda" and loading.load_cuda(warn=False) is not None:
        return "cuda"
    reason = loading.problem("cpu" if name == "cpu" else "cuda") or KernelsNotBuilt("it is not built")
    raise BackendUnavailable(f"kernel back end {name!r}, forced by {place}, cannot be had", reason.what, _rest(reason))


def _rest(reason: KernelsNotBuilt) -> str:
    return "\n  ".join(part for part in (reason.why, reason.fix) if part)


def _checked(name: str, place: str) -> str:
    if name in _CHOICES:
        return name
    raise UsageError(
        f"{place}: unknown kernel back end {name!r}", did_you_mean(name, _CHOICES), "known: cuda, cpu, torch, auto"
    )
