"""Kernels that were built ahead of time, into the wheel."""

from __future__ import annotations

import platform
from pathlib import Path

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build.cache import Built, read_built
from kdbench.kernel_build.sources import fingerprint, source_directory
from kdbench.kernel_build.targets import Kind
from kdbench.kernel_build.toolchain import find_torch, module_suffix

DIRECTORY = Path(__file__).parents[1] / "kernels" / "prebuilt"


def find_prebuilt(kind: Kind, directory: Path = DIRECTORY) -> tuple[Built | None, str]:
    """The wheel's kernels where they fit this machine, Python and torch; else None, and why ("" where there are none).

    Raises: KernelsNotBuilt where torch is missing or too old.
    """
    if not (directory / kind).is_dir():
        return None, ""
    built = read_built(directory / kind)
    if built is None:
        return None, f"the files in {directory / kind} are damaged"
    torch = find_torch()
    for name, theirs, ours in (
        ("machine", built.facts["machine"], platform.machine()),
        ("Python", built.facts.get("abi", module_suffix()), module_suffix()),
        ("sources", built.facts["sources"], _sources(built)),
        ("CUDA", _major(built.facts.get("cuda")), _major(torch.cuda) if kind == "cuda" else None),
    ):
        if theirs != ours:
            return None, f"the wheel's kernels are for {name} {theirs}, not {ours}"
    return built, ""


def _sources(built: Built) -> str:
    try:
        return fingerprint(source_directory())
    except KernelsNotBuilt:  # nothing that they could differ from
        return str(built.facts["sources"])


def _major(version: str | None) -> str | None:
    return None if version is None else version.partition(".")[0]
