"""What is built of the kernels, from where and for what, or why not. Nothing is built to find out."""

from __future__ import annotations

from typing import Literal

import msgspec

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build import Build, Built, cache_directory
from kdbench.kernel_build.cache import recent_failure
from kdbench.kernel_build.prebuilt import DIRECTORY, find_prebuilt
from kdbench.kernel_build.targets import Kind
from kdbench.kernel_build.toolchain import require_compiler
from kdbench.kernels import loading

State = Literal["loaded", "not built", "unavailable"]


class KernelStatus(msgspec.Struct, frozen=True):
    """One kind of kernels.

    Args:
        state: "loaded"; "not built" yet, and built at first use; or "unavailable", and `reason` says why.
        origin: "wheel" (built ahead of time) or "cache" (built at first use), where loaded.
        directory: where they are, or would be.
        isa: the instruction set chosen on this machine, as the library says; "" where it does not say.
        isas: those that it was built for; for CUDA, the architectures.
        torch: the version of torch that it was built with.
        built: when, UTC.
        native: why there is no Python module; "" where there is one.
        reason: why they are unavailable.
        wheel: why the wheel's kernels are not used; "" where there are none.
    """

    kind: Kind
    state: State
    directory: str
    origin: str = ""
    isa: str = ""
    isas: list[str] = []
    compiler: str = ""
    flags: str = ""
    torch: str = ""
    built: str = ""
    native: str = ""
    reason: str = ""
    wheel: str = ""


def status(kind: Kind) -> KernelStatus:
    """Load the kernels of a kind where they are built, and describe them."""
    loaded = loading.load_cpu(build=False, warn=False) if kind == "cpu" else loading.load_cuda(build=False, warn=False)
    if loaded is None:
        return _not_loaded(kind)
    built, native, isa = loaded.built, "", ""
    if isinstance(loaded, loading.NativeCpu):
        native = loaded.native_problem
        isa = str(loaded.native.build_info().get("isa", "")) if loaded.native is not None else ""
    return KernelStatus(
        kind, "loaded", str(built.directory),
        origin="wheel" if DIRECTORY in built.directory.parents else "cache",
        isa=isa, isas=_isas(built), compiler=built.facts["compiler"], flags=built.facts["flags"],
        torch=built.facts["torch"], built=built.facts["built"], native=native, wheel=_wheel(kind),
    )  # fmt: skip


def _not_loaded(kind: Kind) -> KernelStatus:
    cache = cache_directory()
    problem = loading.problem(kind)
    if problem is None:
        problem = _problem_ahead(loading.cpu_request() if kind == "cpu" else loading.cuda_request())
    state: State = "not built" if problem is None else "unavailable"
    return KernelStatus(kind, state, str(cache), reason="" if problem is None else str(problem), wheel=_wheel(kind))


def _problem_ahead(request: Build) -> KernelsNotBuilt | None:
    """What a build would stumble over, as far as that is known."""
    if request.compiler is None:
        try:
            require_compiler()
        except KernelsNotBuilt as error:
            return error
        return KernelsNotBuilt("there is no nvcc", "neither in PATH nor in CUDA_HOME", "install the CUDA toolkit")
    failure = recent_failure(cache_directory(), request.key)
    return None if failure is None else KernelsNotBuilt(failure.what, failure.why, failure.fix, failure.log)


def _isas(built: Built) -> list[str]:
    return list(built.facts.get("isas") or built.facts.get("architectures") or [])


def _wheel(kind: Kind) -> str:
    try:
        return find_prebuilt(kind)[1]
    except KernelsNotBuilt as error:
        return error.what
