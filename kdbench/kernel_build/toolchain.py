"""What builds the kernels here: torch's headers, a C++ compiler, nvcc, ninja."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kdbench.errors import KernelsNotBuilt

OLDEST_TORCH = (2, 10)
"""The first with the stable interface that the kernels are written against."""

_INSTALL_COMPILER = "install a C++ compiler (Debian, Ubuntu: apt install g++; conda: conda install cxx-compiler)"


@dataclass(frozen=True)
class Torch:
    """An installed torch: its directory, version and the CUDA version it was built for, None for a CPU build."""

    root: Path
    version: str
    cuda: str | None

    @property
    def include(self) -> Path:
        """Its headers."""
        return self.root / "include"

    @property
    def lib(self) -> Path:
        """Its shared libraries."""
        return self.root / "lib"


@dataclass(frozen=True)
class Compiler:
    """A program and the options that belong to it (as in CXX="ccache g++"), and how it names its version."""

    command: tuple[str, ...]
    path: str
    version: str

    def identity(self) -> bytes:
        """What a library built by another compiler would differ in."""
        return "\n".join((self.path, self.version, *self.command[1:])).encode()


@cache
def find_torch() -> Torch:
    """The torch that would be imported, found without importing it.

    Raises: KernelsNotBuilt where it is missing, too old, or came without headers.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        raise KernelsNotBuilt("torch is not installed", fix="pip install 'torch>=2.10'")
    root = Path(spec.origin).parent
    text = (root / "version.py").read_text(encoding="utf-8")
    version, cuda = _assigned("__version__", text), _assigned("cuda", text)
    if version is None or _numbers(version) < OLDEST_TORCH:
        raise KernelsNotBuilt(f"torch {version} is too old for the kernels", f"in {root}", "pip install 'torch>=2.10'")
    torch = Torch(root, version, cuda)
    header = torch.include / "torch" / "csrc" / "stable" / "library.h"
    if not header.is_file():
        raise KernelsNotBuilt("torch came without its C++ headers", f"no {header}", "install torch from its wheel")
    return torch


def find_compiler() -> Compiler | None:
    """The C++ compiler: $CXX, else c++, g++ or clang++ of PATH; None where there is none."""
    asked = shlex.split(os.environ.get("CXX", ""))
    for command in [asked] if asked else [["c++"], ["g++"], ["clang++"]]:
        path = shutil.which(command[0])
        if path is not None:
            return Compiler((path, *command[1:]), os.path.realpath(path), _version([path, *command[1:]]))
    return None


def require_compiler() -> Compiler:
    """The C++ compiler. Raises: KernelsNotBuilt where there is none."""
    compiler = find_compiler()
    if compiler is None:
        asked = os.environ.get("CXX")
        where = f"CXX is {asked!r}, which is not found" if asked else "no c++, g++ or clang++ in PATH"
        raise KernelsNotBuilt("there is no C++ compiler", where, _INSTALL_COMPILER)
    return compiler


def accepts(compiler: Compiler, option: str) -> bool:
    """Whether the compiler knows an option."""
    command = [*compiler.command, option, "-E", "-x", "c++", os.devnull, "-o", os.devnull]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def find_nvcc() -> Compiler | None:
    """The nvcc of PATH or of $CUDA_HOME; None where there is none."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    path = shutil.which("nvcc") or shutil.which("nvcc", path=os.path.join(home, "bin"))
    return None if path is None else Compiler((path,), os.path.realpath(path), _version([path], line=-1))


def find_ninja() -> Path:
    """The ninja executable of the Python package, else of PATH. Raises: KernelsNotBuilt."""
    if importlib.util.find_spec("ninja") is not None:
        import ninja

        path = Path(ninja.BIN_DIR) / "ninja"
        if path.is_file():
            return path
    found = shutil.which("ninja")
    if found is None:
        raise KernelsNotBuilt("ninja is not installed", fix="pip install ninja")
    return Path(found)


def pybind11_include() -> Path | None:
    """Where pybind11's headers are; None where it is not installed."""
    spec = importlib.util.find_spec("pybind11")
    include = Path(spec.origin).parent / "include" if spec is not None and spec.origin else None
    return include if include is not None and (include / "pybind11" / "pybind11.h").is_file() else None


def python_include() -> Path | None:
    """Where Python.h is; None where Python came without its headers."""
    include = Path(sysconfig.get_paths()["include"])
    return include if (include / "Python.h").is_file() else None


def module_suffix() -> str:
    """How this Python names its extension modules, as in .cpython-311-x86_64-linux-gnu.so: its ABI."""
    return str(sysconfig.get_config_var("EXT_SUFFIX"))


def at_least(version: str, oldest: tuple[int, int]) -> bool:
    """Whether a version such as 2.13.0+cpu is not older."""
    return _numbers(version) >= oldest


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else (0, 0)


def _assigned(name: str, text: str) -> str | None:
    found = re.search(rf"^{name}(?:\s*:[^=\n]+)?\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found[1] if found else None


def _version(command: list[str], line: int = 0) -> str:
    """A line of what a compiler says of itself; the file's size and age where it says nothing."""
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
        lines = [text.strip() for text in (said.stdout or said.stderr).splitlines() if text.strip()]
    except (OSError, subprocess.TimeoutExpired):
        lines = []
    if lines:
        return lines[line]
    state = os.stat(command[0])
    return f"unknown version ({state.st_size} bytes, {int(state.st_mtime)})"
