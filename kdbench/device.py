"""Which device a command means, found without importing torch where it can be."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from kdbench.errors import UsageError

_KNOWN = re.compile(r"cpu|mps|cuda(:\d+)?")


def resolve_device(name: str) -> str:
    """The device's name for Fabric; "auto" is the first GPU there is, else the CPU.

    Raises: UsageError for a name that is no device, or a device that this machine lacks.
    """
    if name == "auto":
        return next((kind for kind in ("cuda", "mps") if _perhaps(kind) and _has(kind)), "cpu")
    if not _KNOWN.fullmatch(name):
        raise UsageError(f"--device {name}: no such device", fix="known: auto, cpu, cuda, cuda:N, mps")
    if name != "cpu" and not _has(name):
        raise UsageError(f"--device {name}: torch finds no such device here", fix="kdbench doctor shows what it finds")
    return name


def check_devices(device: str, devices: int) -> None:
    """Whether `devices` processes can train one run on the resolved device. Raises: UsageError."""
    if devices == 1 or device == "cpu":
        return
    if device == "mps":
        raise UsageError(f"--devices {devices}: an Apple GPU is one device", fix="leave --devices out")
    if device != "cuda":
        raise UsageError(
            f"--devices {devices} --device {device}: several processes need a GPU each", fix="use --device cuda"
        )
    import torch

    found = torch.cuda.device_count()
    if found < devices:
        raise UsageError(f"--devices {devices}: torch finds {found} GPUs here", fix=f"use --devices {found} or fewer")


def _perhaps(kind: str) -> bool:
    """Whether it is worth asking torch."""
    if kind == "mps":
        return sys.platform == "darwin" and platform.machine() == "arm64"
    return sys.platform == "win32" or Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()


def _has(name: str) -> bool:
    import torch

    kind, _, index = name.partition(":")
    if kind == "mps":
        return torch.backends.mps.is_available()
    return torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count()
