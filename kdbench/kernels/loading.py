"""The compiled kernels in this process: loaded at first use, built before that where need be."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

import torch

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build import (
    Build,
    Built,
    cache_directory,
    cpu_build,
    cuda_build,
    ensure_built,
    find_built,
    find_prebuilt,
    source_directory,
)
from kdbench.kernel_build.targets import CUDA_LIBRARY, LIBRARY, MODULE, Kind


class KernelsUnavailable(UserWarning):
    """Compiled kernels cannot be had; the losses run on plain torch, which is slower. Given once for each process."""


@dataclass(frozen=True)
class NativeCpu:
    """The loaded CPU kernels: the operators `torch.ops.kdbench.*`, and the Python module.

    Args:
        native: the module with `launch` and `build_info`; None where only the operators could be built.
        native_problem: why there is no module.
        built: where they came from.
    """

    native: ModuleType | None
    native_problem: str
    built: Built


@dataclass(frozen=True)
class NativeCuda:
    """The loaded CUDA kernels: the operators `torch.ops.kdbench.*` on CUDA tensors."""

    built: Built


Native = TypeVar("Native")


class _Once(Generic[Native]):
    """One kind of kernels: loaded once for each process, or found not to load once."""

    def __init__(self, kind: Kind, load: Callable[[Built], Native], request: Callable[[], Build]) -> None:
        self.kind, self._load, self._request = kind, load, request
        self._lock = threading.Lock()
        self.loaded: Native | None = None
        self.problem: KernelsNotBuilt | None = None

    def get(self, *, build: bool = True) -> Native | None:
        """What is loaded; loads and, unless `build` is False, builds it where nobody tried before."""
        if self.loaded is not None or self.problem is not None:
            return self.loaded
        with self._lock:
            if self.loaded is None and self.problem is None:
                try:
                    built = self._find(build)
                    self.loaded = None if built is None else self._load(built)
                except KernelsNotBuilt as error:
                    self.problem = error
        return self.loaded

    def _find(self, build: bool) -> Built | None:
        if built := find_prebuilt(self.kind)[0]:
            return built
        request, cache = self._request(), cache_directory()
        if not build:
            return find_built(request, cache)
        return ensure_built(request, cache, say=_say)


def load_cpu(*, build: bool = True, warn: bool = True) -> NativeCpu | None:
    """The CPU kernels, loaded at the first call.

    Args:
        build: build them where they are not; False: None, without a warning, where they are not built yet.
        warn: warn, once for each process, where they cannot be had.

    Returns: None where they cannot be had; `problem("cpu")` says why.
    """
    loaded = _cpu.get(build=build)
    if loaded is None and warn:
        _warn_once(_cpu)
    return loaded


def load_cuda(*, build: bool = True, warn: bool = True) -> NativeCuda | None:
    """The CUDA kernels for the visible devices; otherwise as `load_cpu`."""
    loaded = _cuda.get(build=build)
    if loaded is None and warn:
        _warn_once(_cuda)
    return loaded


def problem(kind: Kind) -> KernelsNotBuilt | None:
    """Why `load_cpu` or `load_cuda` gave None; None where it did not, or was not called."""
    return (_cpu if kind == "cpu" else _cuda).problem


def cpu_request() -> Build:
    """What `load_cpu` builds. Raises: KernelsNotBuilt."""
    return cpu_build(source_directory())


def cuda_request() -> Build:
    """What `load_cuda` builds: for the architectures of the visible devices. Raises: KernelsNotBuilt."""
    if not torch.cuda.is_available():
        raise KernelsNotBuilt("torch finds no GPU that it can use", f"torch {torch.__version__}")
    capabilities = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    return cuda_build(source_directory(), [_architecture(*one) for one in sorted(capabilities)])


def _architecture(major: int, minor: int) -> str:
    """The name that nvcc has for it; from 9.0 on, with the instructions of that architecture alone."""
    return f"{major}{minor}a" if (major, minor) == (9, 0) else f"{major}{minor}"


def _load_cpu(built: Built) -> NativeCpu:
    library = built.path(LIBRARY)
    if library is None:
        raise KernelsNotBuilt("the CPU kernels are not in their build", f"in {built.directory}")
    try:
        _load_library(library)
    except OSError as error:
        raise _not_loadable("CPU", built, error) from error
    from kdbench.kernels.library import register_all  # which imports the losses, and those this module

    register_all()
    module = built.path(MODULE)
    if module is None:
        return NativeCpu(None, built.facts["missing"].get(MODULE, "not in the build"), built)
    try:
        return NativeCpu(_import(module), "", built)
    except ImportError as error:
        return NativeCpu(None, f"{module}: {error}", built)


def _load_library(path: Path) -> None:
    torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]


def _import(path: os.PathLike[str]) -> ModuleType:
    name = "kdbench.kernels._native"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no extension module of this Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


def _load_cuda(built: Built) -> NativeCuda:
    if (cpu := _cpu.get()) is None:  # it declares the operators
        reason = _cpu.problem
        raise KernelsNotBuilt("the CUDA kernels need the CPU kernels", str(reason or "which are not built"))
    try:
        _load_library(built.directory / CUDA_LIBRARY)
        _try_on_the_device()
    except (OSError, RuntimeError) as error:
        raise _not_loadable("CUDA", built, error) from error
    del cpu
    return NativeCuda(built)


def _try_on_the_device() -> None:
    """One small launch: a driver that is older than nvcc is found here, not in somebody's training."""
    student, teacher = torch.zeros(1, 2, device="cuda"), torch.tensor([[1.0, 0.0]], device="cuda")
    _, totals, _ = torch.ops.kdbench.kl(student, teacher, 1.0, None, 1.0, None, 0, False)
    expected = torch.nn.functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="sum")
    if not torch.allclose(totals.reshape(()), expected, rtol=1e-4):
        raise RuntimeError(f"a trial launch gave {totals.item()}, not {expected.item()}")


def _not_loadable(kind: str, built: Built, error: Exception) -> KernelsNotBuilt:
    return KernelsNotBuilt(
        f"the {kind} kernels were built but cannot be loaded",
        f"{built.directory}: {error}",
        "kdbench kernels build --force",
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _warn_once(part: _Once[NativeCpu] | _Once[NativeCuda]) -> None:
    error = part.problem
    if error is None or part.kind in _warned:
        return
    _warned.add(part.kind)
    warnings.warn(
        f"kdbench: no compiled {part.kind.upper()} kernels; the losses run on plain torch.\n  {error}",
        KernelsUnavailable,
        stacklevel=3,
    )


_cpu = _Once("cpu", _load_cpu, cpu_request)
_cuda = _Once("cuda", _load_cuda, cuda_request)
_warned: set[Kind] = set()
