"""Compile the CUDA kernels for every architecture, report what each needs, and fail on a warning or a spill.

    python tools/compile_cuda.py [--arch 90a ...] [--json FILE]

One nvcc for each source and architecture, as many at a time as there are processors. The objects are thrown away: a
machine without a GPU checks with this that the kernels compile, and that they stay within their registers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "csrc" / "cuda"
ARCHITECTURES = ("80", "86", "89", "90a", "100", "120")
FLAGS = ("-std=c++17", "-O3", "-Werror", "all-warnings", "-Xptxas", "-v", "--resource-usage")
WITH_TORCH = "ops.cu"

_ENTRY = re.compile(r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'")
_SPILL = re.compile(r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill")
_USED = re.compile(r"Used (?P<registers>\d+) registers(?P<rest>.*)")
_SHARED = re.compile(r"(\d+) bytes smem")
_WARNING = re.compile(r"warning", re.IGNORECASE)


@dataclass(frozen=True)
class Kernel:
    """What ptxas says of one kernel on one architecture; bytes."""

    arch: str
    name: str
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


@dataclass(frozen=True)
class Compiled:
    """One source for one architecture."""

    source: str
    arch: str
    seconds: float
    status: int
    output: str


def kernels_of(output: str) -> list[Kernel]:
    """Read ptxas's report, with names as the compiler mangled them."""
    kernels = []
    for block in re.split(r"(?=ptxas info\s*: Compiling entry function)", output):
        entry, spill, used = _ENTRY.search(block), _SPILL.search(block), _USED.search(block)
        if entry is None:
            continue
        if spill is None or used is None:
            raise ValueError(f"no resources of {entry['name']} in ptxas's report:\n{block}")
        shared = _SHARED.search(used["rest"])
        kernels.append(
            Kernel(
                entry["arch"].removeprefix("sm_"),
                entry["name"],
                int(used["registers"]),
                int(shared[1]) if shared else 0,
                int(spill["stack"]),
                int(spill["stores"]),
                int(spill["loads"]),
            )
        )
    return kernels


def readable(names: Sequence[str]) -> list[str]:
    """The kernels' names as in the source, without their parameters."""
    demangler = shutil.which("cu++filt") or shutil.which("c++filt")
    if demangler is None:
        return list(names)
    lines = subprocess.run([demangler], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return [
        re.sub(r"\(.*\)$|^void |kdbench::cuda::|\((?:int|bool)\)", "", re.sub(r"\((int|bool)\)", "", line))
        for line in lines.splitlines()
    ]


def problems(compiled: Sequence[Compiled], kernels: Sequence[Kernel]) -> list[str]:
    """Why the kernels do not pass: failures, warnings, spills."""
    found = []
    for one in compiled:
        if one.status != 0:
            found.append(f"{one.source} for sm_{one.arch}: nvcc failed\n{one.output.strip()}")
        else:
            found += [
                f"{one.source} for sm_{one.arch}: {line}" for line in one.output.splitlines() if _WARNING.search(line)
            ]
    for kernel in kernels:
        if kernel.spill_stores or kernel.spill_loads:
            found.append(
                f"{kernel.name} on sm_{kernel.arch} spills: "
                f"{kernel.spill_stores} bytes stored, {kernel.spill_loads} loaded"
            )
    return found


def table(kernels: Sequence[Kernel]) -> str:
    """Registers, and bytes spilled where there are any, by kernel and architecture."""
    arches = list(dict.fromkeys(kernel.arch for kernel in kernels))
    cells: dict[str, dict[str, str]] = {}
    for kernel in kernels:
        spilled = kernel.spill_stores + kernel.spill_loads
        cell = f"{kernel.registers}" + (f" +{kernel.shared}B" if kernel.shared else "")
        cells.setdefault(kernel.name, {})[kernel.arch] = cell + (f" spills {spilled}" if spilled else "")
    header = ["registers (+ static shared memory)", *(f"sm_{arch}" for arch in arches)]
    rows = [[name, *(by_arch.get(arch, "-") for arch in arches)] for name, by_arch in sorted(cells.items())]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in [header, *rows]
    )


def compile_all(nvcc: str, arches: Sequence[str], sources: Sequence[Path], workers: int) -> list[Compiled]:
    """Compile each source for each architecture; host code, which is the same for all, for the first alone."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:

        def one(job: tuple[Path, str]) -> Compiled:
            source, arch = job
            command = [
                nvcc,
                *FLAGS,
                *_includes(source),
                f"-gencode=arch=compute_{arch},code=sm_{arch}",
                "-c" if arch == arches[0] else "-cubin",
                str(source),
            ]
            start = time.monotonic()
            done = subprocess.run(
                [*command, "-o", f"{folder}/{source.stem}.{arch}.o"], capture_output=True, text=True, check=False
            )
            return Compiled(source.name, arch, time.monotonic() - start, done.returncode, done.stdout + done.stderr)

        jobs = [
            (source, arch) for arch in arches for source in sources if source.name != WITH_TORCH or arch == arches[0]
        ]
        return list(pool.map(one, jobs))


def _includes(source: Path) -> list[str]:
    if source.name != WITH_TORCH:
        return []
    from torch.utils.cpp_extension import include_paths

    flags = [f"-isystem={path}" for path in include_paths()]
    return [*flags, "-DTORCH_TARGET_VERSION=0x020a000000000000", "-DUSE_CUDA"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print the table, and return 1 where something does not pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="an architecture; all where not given")
    parser.add_argument("--source", action="append", help="a source of csrc/cuda; all where not given")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the report here too")
    options = parser.parse_args(arguments)
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("nvcc is not in PATH", file=sys.stderr)
        return 2
    sources = sorted(path for path in SOURCES.glob("*.cu") if not options.source or path.name in options.source)
    start = time.monotonic()
    compiled = compile_all(nvcc, options.arch or ARCHITECTURES, sources, options.workers)
    seconds = time.monotonic() - start
    mangled = [kernel for one in compiled if one.status == 0 for kernel in kernels_of(one.output)]
    kernels = [
        Kernel(**{**asdict(kernel), "name": name})
        for kernel, name in zip(mangled, readable([kernel.name for kernel in mangled]), strict=True)
    ]
    print(table(kernels))
    slowest = max(compiled, key=lambda one: one.seconds)
    print(f"\n{len(kernels)} kernels in {seconds:.0f} s with {options.workers} compilers at a time; ", end="")
    print(f"the longest, {slowest.source} for sm_{slowest.arch}, took {slowest.seconds:.0f} s")
    found = problems(compiled, kernels)
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    if options.json:
        report = {"seconds": seconds, "kernels": [asdict(kernel) for kernel in kernels], "problems": found}
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
