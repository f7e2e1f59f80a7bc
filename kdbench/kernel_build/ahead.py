"""Kernels built ahead of time, into a wheel: KDBENCH_BUILD_KERNELS=1 pip install --no-build-isolation ."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build.build import build_into
from kdbench.kernel_build.sources import source_directory
from kdbench.kernel_build.targets import cpu_build, cuda_build
from kdbench.kernel_build.toolchain import find_nvcc, find_torch

VARIABLE = "KDBENCH_BUILD_KERNELS"
ARCHITECTURES = "KDBENCH_CUDA_ARCHITECTURES"
DEFAULT_ARCHITECTURES = ("80", "86", "89", "90a", "100", "120")


def build_ahead(directory: Path, say: Callable[[str], None]) -> None:
    """Build into `directory`/cpu, and /cuda where torch has CUDA and nvcc is there (KDBENCH_BUILD_KERNELS=cpu: never).

    KDBENCH_CUDA_ARCHITECTURES="86 90a" chooses the GPUs; every one that the kernels are written for by default.

    Raises: KernelsNotBuilt where a part does not come out: a wheel that was asked for is whole, or is not made.
    """
    what = os.environ.get(VARIABLE, "")
    if what not in {"1", "cpu"}:
        raise KernelsNotBuilt(f"{VARIABLE}={what!r} means nothing", fix=f"{VARIABLE}=1, or cpu for no CUDA kernels")
    sources = source_directory()
    _told(build_into(cpu_build(sources, portable=True), directory / "cpu", on_step=say).directory, say)
    if what == "cpu" or find_torch().cuda is None:
        return
    if find_nvcc() is None:
        say("kdbench: no nvcc, so no CUDA kernels in this wheel")
        return
    architectures = os.environ.get(ARCHITECTURES, "").replace(",", " ").split() or DEFAULT_ARCHITECTURES
    _told(build_into(cuda_build(sources, architectures), directory / "cuda", on_step=say).directory, say)


def _told(directory: Path, say: Callable[[str], None]) -> None:
    say(f"kdbench: built {', '.join(sorted(path.name for path in directory.iterdir()))}")
