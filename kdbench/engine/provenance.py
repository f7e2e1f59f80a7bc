"""What is needed to believe a number, and to repeat it: versions, hardware, settings, commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from kdbench.records import Provenance
from kdbench.version import __version__

LIBRARIES = ("torch", "lightning-fabric", "numpy", "scipy", "scikit-learn", "safetensors", "timm", "transformers")
_SOURCE = Path(__file__).parents[2]
_BUILT_FROM = Path(__file__).parents[1] / "commit.txt"
"""Written into a wheel by setup.py."""


def provenance(
    *,
    plugins: dict[str, str],
    device: str,
    workers: int,
    deterministic: bool,
    kernel_backend: str,
    dataset_fingerprint: str,
    teacher_fingerprint: str,
    command: str,
) -> Provenance:
    """The caller's facts, with those of this process: its kdbench, libraries, CPU, threads and platform."""
    return Provenance(
        kdbench=__version__,
        plugins=plugins,
        libraries=_libraries(),
        git_commit=_git_commit(),
        device=_device(device),
        cpu=_cpu(),
        threads=torch.get_num_threads(),
        workers=workers,
        platform=platform.platform(),
        python=platform.python_version(),
        deterministic=deterministic,
        kernel_backend=kernel_backend,
        dataset_fingerprint=dataset_fingerprint,
        teacher_fingerprint=teacher_fingerprint,
        command=command,
    )


@cache
def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an optional one
            continue
    return found


@cache
def _git_commit() -> str | None:
    """The commit of the checkout that kdbench runs from or was built from, with "+changes" if edited; else None."""
    if _BUILT_FROM.is_file():
        return _BUILT_FROM.read_text().strip()
    if not (_SOURCE / ".git").exists():
        return None
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # no git, or not a repository that it will read
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_SOURCE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _device(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device
