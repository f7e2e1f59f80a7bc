"""The CUDA library is built apart from the CPU's, by nvcc, wherever that is; no GPU is needed to compile."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build import cuda_build, ensure_built
from kdbench.kernel_build import targets as targets_module
from kdbench.kernel_build.targets import CUDA_LIBRARY
from kdbench.kernel_build.toolchain import find_compiler, find_nvcc, find_torch

pytestmark = pytest.mark.skipif(find_nvcc() is None and "CI" not in os.environ, reason="no nvcc")

KERNEL = """
__global__ void twice(float* x) { x[threadIdx.x] *= 2; }
extern "C" __attribute__((visibility("default"))) int kdbench_twice(float* x) {
  void* arguments[] = {&x};
  return cudaLaunchKernel((void*)twice, dim3(1), dim3(32), arguments, 0, nullptr);
}
"""


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "csrc" / "cuda").mkdir(parents=True)
    (tmp_path / "csrc" / "cuda" / "ops.cu").write_text(KERNEL)
    return tmp_path / "csrc"


@pytest.fixture
def cuda_torch(tmp_path, monkeypatch):
    """This torch as if it had CUDA: its CUDA libraries are there to link with, and empty."""
    torch = find_torch()
    if torch.cuda is not None:
        return torch
    root = tmp_path / "torch"
    (root / "lib").mkdir(parents=True)
    (root / "include").symlink_to(torch.include)
    for library in torch.lib.glob("*.so*"):
        (root / "lib" / library.name).symlink_to(library)
    for name in ("libtorch_cuda.so", "libc10_cuda.so"):
        subprocess.run(
            [*find_compiler().command, "-shared", "-x", "c++", os.devnull, "-o", root / "lib" / name], check=True
        )
    pretended = type(torch)(root, torch.version, "13.0")
    monkeypatch.setattr(targets_module, "find_torch", lambda: pretended)
    return pretended


def test_nvcc_compiles_for_the_architectures_that_are_asked_for_into_a_library_of_its_own(
    sources, cuda_torch, tmp_path
):
    built = ensure_built(cuda_build(sources, ["80", "90a"]), tmp_path / "cache", say=lambda _: None)
    assert list(built.facts["files"]) == [CUDA_LIBRARY]
    assert built.facts["architectures"] == ["80", "90a"]
    lister = shutil.which("cuobjdump", path=os.path.join(Path(find_nvcc().path).parent)) or shutil.which("cuobjdump")
    if lister is not None:
        said = subprocess.run(
            [lister, "--list-elf", built.path(CUDA_LIBRARY)], capture_output=True, text=True, check=True
        )
        assert "sm_80" in said.stdout
        assert "sm_90a" in said.stdout


def test_what_nvcc_complains_about_is_told(sources, cuda_torch, tmp_path):
    (sources / "cuda" / "ops.cu").write_text("__global__ void broken() { nonsense(); }\n")
    with pytest.raises(
        KernelsNotBuilt, match=r'the cuda kernels did not compile\n.*identifier "nonsense" is undefined'
    ):
        ensure_built(cuda_build(sources, ["80"]), tmp_path / "cache", say=lambda _: None)


def test_other_architectures_share_nothing(sources, cuda_torch):
    assert cuda_build(sources, ["80"]).key != cuda_build(sources, ["86"]).key


def test_a_torch_without_cuda_is_told(sources, monkeypatch):
    torch = find_torch()
    monkeypatch.setattr(targets_module, "find_torch", lambda: type(torch)(torch.root, torch.version, None))
    with pytest.raises(KernelsNotBuilt, match="this torch has no CUDA"):
        cuda_build(sources, ["80"])
