"""The CUDA kernels on the host: built once with a C++ compiler, and called as the operators are."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import ninja
import numpy as np
import pybind11
import torch
from filelock import FileLock
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "cuda"
EMULATION = ROOT / "tests" / "cuda_emulation"
# Vectors are read through other types than they were written by, and local variables begin as a pattern, not as 0.
FLAGS = (
    "-std=c++17",
    "-fno-strict-aliasing",
    "-ftrivial-auto-var-init=pattern",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
)
FLAGS = (*FLAGS, "-Werror", "-Wno-unknown-pragmas", "-Wno-missing-field-initializers", "-U_FORTIFY_SOURCE")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")

LOSSES = {"kl": 0, "hinton": 1, "divergence": 2, "dkd": 3, "topk": 4}
DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
TERMS = {"hinton": 2, "dkd": 2}
# The schemas' names of what Problem calls otherwise.
RENAMED = {"kind": "divergence", "values_are": "teacher_is", "teacher_values": "teacher", "teacher_indices": "indices"}
NUMBERS: dict[str, Any] = {
    "temperature": 1.0,
    "scale": 1.0,
    "teacher_is": 0,
    "standardize": False,
    "ignore_index": -100,
    "alpha": 0.0,
    "beta": 0.0,
    "ce_scale": 1.0,
    "label_smoothing": 0.0,
    "divergence": 0,
    "k": 0,
    "tail": 0,
}
# An H100; a device on which no row of more than 1,500 classes is kept whole.
SHARED_MEMORY = (227 * 1024, 228 * 1024)
LITTLE_SHARED_MEMORY = (20 * 1024, 40 * 1024)


@cache
def module() -> ModuleType:
    """The extension `_cuda_emulated`, built where it is not there yet."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    path = _built(f"_cuda_emulated{suffix}", "module.cpp", ("-O1", "-fPIC"), ("-shared",))
    spec = importlib.util.spec_from_file_location("_cuda_emulated", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def sanitized_driver() -> Path:
    """The driver program, with address and undefined-behaviour sanitizers."""
    return _built("driver", "driver.cpp", ("-O1", *SANITIZE), SANITIZE)


def call(
    operator: str,
    arguments: Mapping[str, Any],
    *,
    in_place: bool = False,
    offsets: Mapping[str, int] | None = None,
    gradient: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Rows' losses, totals and gradient, as the operator returns them.

    `offsets`: bytes by which an argument's memory begins off its alignment; `in_place`: the gradient is written over
    the emulated student, `arguments` stay as they are.
    """
    numbers = {**NUMBERS, "loss": LOSSES[operator]}
    tensors: dict[str, Tensor | None] = {}
    for name, value in arguments.items():
        name = RENAMED.get(name, name)
        if value is None or isinstance(value, Tensor):
            tensors[name] = value
        else:
            numbers[name] = value
    student = tensors["student"]
    assert student is not None
    rows, classes = student.shape
    numbers.update(dtype=DTYPES[student.dtype], rows=rows, classes=classes)
    if tensors.get("indices") is not None:
        numbers["k"] = tensors["indices"].shape[1]
    acc = torch.float64 if student.dtype == torch.float64 else torch.float32
    terms = TERMS.get(operator, 1)
    arrays: dict[str, Any] = {name: None if value is None else _array(value.clone()) for name, value in tensors.items()}
    arrays["row_losses"] = np.full((rows, terms), np.nan, _array(torch.empty(0, dtype=acc)).dtype)
    arrays["totals"] = np.full(3 if terms == 2 else 1, np.nan, arrays["row_losses"].dtype)
    if gradient:
        arrays["grad"] = "student" if in_place else np.full_like(arrays["student"], -1)
    module().run(numbers, arrays, dict(offsets or {}))
    written = arrays["student"] if in_place else arrays.get("grad")
    grad = None if written is None else torch.from_numpy(written).view(student.dtype)
    return torch.from_numpy(arrays["row_losses"]), torch.from_numpy(arrays["totals"]), grad


def scale(data: Tensor, factor: float, offset: int = 0) -> Tensor:
    """`data` times the factor, by the scaling kernel."""
    scaled = data.clone()
    acc = np.float64 if data.dtype == torch.float64 else np.float32
    array = _array(scaled)
    module().scale(array, DTYPES[data.dtype], data.numel(), np.array([factor], acc), offset)
    return torch.from_numpy(array).view(data.dtype)


def _array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory; 16-bit numbers as integers."""
    if tensor.dtype in {torch.bfloat16, torch.float16}:
        tensor = tensor.contiguous().view(torch.int16)
    return tensor.contiguous().numpy()


def _built(name: str, main: str, flags: Sequence[str], link: Sequence[str]) -> Path:
    """The program or library, from this source tree's cache of builds."""
    compiler = shutil.which("g++") or shutil.which("c++")
    assert compiler is not None, "a C++ compiler is needed to emulate the CUDA kernels"
    includes = [
        pybind11.get_include(),
        sysconfig.get_paths()["include"],
        str(EMULATION / "include"),
        str(ROOT / "csrc"),
    ]
    command = [
        compiler,
        *FLAGS,
        *flags,
        *(f"-isystem{path}" for path in includes[:2]),
        *(f"-I{path}" for path in includes[2:]),
    ]
    sources = [*sorted(KERNELS.glob("*.cu")), EMULATION / "fibers.cpp", EMULATION / "device.cpp", EMULATION / main]
    sources = [source for source in sources if source.name != "ops.cu"]
    folder = Path(tempfile.gettempdir()) / f"kdbench-emulation-{_fingerprint([*command, *link, sys.version])}"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / name).exists():
            objects = {source: f"{source.name}.o" for source in sources}
            lines = ["rule compile", f"  command = {_words(command)} -x c++ -c $in -o $out"]
            lines += ["rule link", f"  command = {_words([compiler, *link])} $in -o $out"]
            lines += [f"build {target}: compile {_escaped(source)}" for source, target in objects.items()]
            lines += [f"build unfinished: link {' '.join(objects.values())}", ""]
            (folder / "build.ninja").write_text("\n".join(lines))
            done = subprocess.run(
                [str(Path(ninja.BIN_DIR) / "ninja")], cwd=folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "unfinished").rename(folder / name)
    return folder / name


def _fingerprint(words: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for folder in (ROOT / "csrc", EMULATION):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def _escaped(path: Path) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _words(command: Sequence[str]) -> str:
    return " ".join(word.replace("$", "$$") if " " not in word else f"'{word}'" for word in command)
