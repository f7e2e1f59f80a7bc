"""What is compiled from which sources, with which options; and the key of the result."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build.isas import known_isas, machine_isas
from kdbench.kernel_build.sources import digest, fingerprint
from kdbench.kernel_build.toolchain import (
    Compiler,
    Torch,
    accepts,
    find_compiler,
    find_nvcc,
    find_torch,
    module_suffix,
    pybind11_include,
    python_include,
)

Kind = Literal["cpu", "cuda"]

LIBRARY = "libkdbench_kernels.so"
CUDA_LIBRARY = "libkdbench_kernels_cuda.so"
MODULE = f"_native{module_suffix()}"

STABLE_API = "-DTORCH_TARGET_VERSION=0x020a000000000000"
"""Torch 2.10: the oldest that the built library serves, whichever builds it."""

FLAGS = ("-std=c++17", "-O2", "-fpeel-loops", "-fPIC", "-fvisibility=hidden")
"""-O3 compiles a third longer, and of all that it adds the kernels gain by the peeling alone."""

MATH_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
"""For compiling only. Never -ffast-math: GCC before 13 would link start-up code that flushes denormals process-wide."""

MODULE_FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden")
"""pybind11 costs more to optimise than all kernels together, and little of it runs in a call."""


@dataclass(frozen=True)
class Object:
    """One compilation: `command` + source + -o + file."""

    file: str
    source: Path
    title: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """One link: `command` + objects + libraries + options + -o + file. `needs` are libraries linked before it."""

    file: str
    objects: tuple[str, ...]
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Build:
    """Everything that one build makes.

    Args:
        base: a hash of all that the result depends on but the compiler.
        compiler: the compiler; None where there is none: then only a result that is there already can be used.
        toolchain: a hash of the compiler and of what was found for it.
        missing: libraries that cannot be built here, and why.
        facts: what build.json says of it.
    """

    kind: Kind
    base: str
    compiler: Compiler | None
    toolchain: str = ""
    objects: tuple[Object, ...] = ()
    libraries: tuple[Library, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """What results of this build by any compiler have in their names."""
        return f"{self.kind}-{self.base[:20]}"

    @property
    def key(self) -> str:
        """The name of this build's result in the cache."""
        return f"{self.family}-{self.toolchain[:12]}"


def cpu_build(sources: Path, *, portable: bool = False) -> Build:
    """The CPU operators, rows*.cpp once for each instruction set, and the Python module.

    Args:
        sources: a directory laid out as csrc/.
        portable: for every machine of this kind, as a wheel has to be; else only for this one, which compiles in a
            third of the time.

    Raises: KernelsNotBuilt where torch or the platform cannot serve.
    """
    torch = _torch()
    machine = platform.machine()
    flags = (*FLAGS, *MATH_FLAGS, STABLE_API)
    facts: dict[str, Any] = {"torch": torch.version, "abi": module_suffix(), "machine": machine}
    facts |= {"sources": fingerprint(sources)}
    wanted = known_isas(machine) if portable else machine_isas(machine)
    base = _hash(map(str, facts.values()), flags, MODULE_FLAGS, wanted, [sys.platform])
    compiler = find_compiler()
    if compiler is None:
        return Build("cpu", base, None)
    usable = ((name, options) for name, options in wanted.items() if all(accepts(compiler, one) for one in options))
    isas = dict(usable if portable else islice(usable, 1))  # asking the compiler is most of a warm start's time
    has = tuple(f"-DKDBENCH_HAS_{name}" for name in isas)  # which run_rows_* functions there are to choose from
    command = (*compiler.command, *flags, *_includes(sources, torch))
    objects = []
    for source in [sources / "registration.cpp", *sorted((sources / "cpu").glob("*.cpp"))]:
        name = source.relative_to(sources).as_posix()
        file = name.removesuffix(".cpp").replace("/", "_")
        if source.name.startswith("rows"):
            objects += [
                Object(f"{file}.{isa}.o", source, f"{name} ({isa})", (*command, f"-DKDBENCH_ISA={isa}", *option))
                for isa, option in isas.items()
            ]
        else:
            objects.append(Object(f"{file}.o", source, name, (*command, *has)))
    shared = (*compiler.command, "-shared")
    libraries = [Library(LIBRARY, tuple(one.file for one in objects), shared, _link_options(LIBRARY, torch))]
    module, missing = _python_module(sources, compiler)
    if module is not None:
        objects.insert(0, module)  # the longest first
        options = (f"-Wl,-rpath,{_origin()}", *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()))
        libraries.append(Library(MODULE, (module.file,), shared, options, needs=(LIBRARY,), required=False))
    facts |= {"isas": list(isas), "compiler": f"{compiler.path} ({compiler.version})", "flags": " ".join(flags)}
    toolchain = _hash([compiler.identity().hex()], isas, missing)
    return Build("cpu", base, compiler, toolchain, tuple(objects), tuple(libraries), missing, facts)


def cuda_build(sources: Path, architectures: Sequence[str]) -> Build:
    """The CUDA operators for some architectures, as "90a" or "86".

    Raises: KernelsNotBuilt where torch is a CPU build, or there are no CUDA sources.
    """
    torch = _torch()
    if torch.cuda is None:
        raise KernelsNotBuilt("this torch has no CUDA", f"torch {torch.version}", "install a CUDA build of torch")
    files = sorted((sources / "cuda").glob("*.cu"))
    if not files:
        raise KernelsNotBuilt(
            "there are no CUDA sources", f"no .cu file in {sources / 'cuda'}", "install kdbench again"
        )
    codes = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in architectures]
    flags = ("-std=c++17", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden", STABLE_API, "-DUSE_CUDA", *codes)
    facts: dict[str, Any] = {"torch": torch.version, "cuda": torch.cuda, "architectures": list(architectures)}
    facts |= {"machine": platform.machine(), "sources": fingerprint(sources)}
    base = _hash(map(str, facts.values()), flags, [sys.platform])
    nvcc, host = find_nvcc(), find_compiler()
    if nvcc is None or host is None:
        return Build("cuda", base, None)
    command = (*nvcc.command, "-ccbin", host.path, *flags, *_includes(sources, torch))
    objects = tuple(Object(f"cuda_{file.stem}.o", file, f"cuda/{file.name}", command) for file in files)
    options = tuple(part for option in _link_options(CUDA_LIBRARY, torch, cuda=True) for part in _through_nvcc(option))
    library = Library(
        CUDA_LIBRARY, tuple(one.file for one in objects), (*nvcc.command, "-ccbin", host.path, "-shared"), options
    )
    facts |= {"compiler": f"{nvcc.path} ({nvcc.version})", "flags": " ".join(flags)}
    toolchain = _hash([nvcc.identity().hex(), host.identity().hex()])
    return Build("cuda", base, nvcc, toolchain, objects, (library,), {}, facts)


def _torch() -> Torch:
    if sys.platform not in {"linux", "darwin"}:
        raise KernelsNotBuilt("the kernels are built on Linux and macOS only", f"this is {sys.platform}")
    return find_torch()


def _python_module(sources: Path, compiler: Compiler) -> tuple[Object | None, dict[str, str]]:
    source = sources / "python" / "module.cpp"
    python, pybind11 = python_include(), pybind11_include()
    if not source.is_file():
        return None, {MODULE: f"no {source}"}
    if python is None:
        return None, {MODULE: "Python came without its headers (Debian, Ubuntu: apt install python3-dev)"}
    if pybind11 is None:
        return None, {MODULE: "pybind11 is not installed (pip install pybind11)"}
    command = (*compiler.command, *MODULE_FLAGS, f"-I{sources}", f"-I{pybind11}", f"-I{python}")
    return Object("python_module.o", source, "python/module.cpp", command), {}


def _includes(sources: Path, torch: Torch) -> tuple[str, ...]:
    return (f"-I{sources}", "-isystem", str(torch.include))


def _link_options(file: str, torch: Torch, *, cuda: bool = False) -> tuple[str, ...]:
    names = ("-ltorch_cpu", "-lc10", *(("-ltorch_cuda", "-lc10_cuda") if cuda else ()))
    if sys.platform == "darwin":
        return ("-undefined", "dynamic_lookup", f"-Wl,-install_name,@rpath/{file}", f"-L{torch.lib}", *names)
    linker = (f"-Wl,-soname,{file}", "-Wl,-z,defs", "-Wl,--as-needed", f"-Wl,-rpath-link,{torch.lib}")
    return (*linker, f"-L{torch.lib}", *names)


def _through_nvcc(option: str) -> tuple[str, ...]:
    return ("-Xcompiler", option.replace(",", "\\,")) if option.startswith("-Wl,") else (option,)


def _origin() -> str:
    return "@loader_path" if sys.platform == "darwin" else "$ORIGIN"


def _hash(*groups: Iterable[str]) -> str:
    return digest(part for group in groups for part in [*(text.encode() for text in group), b""])
