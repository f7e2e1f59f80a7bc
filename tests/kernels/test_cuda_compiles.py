"""The CUDA kernels compile for every architecture, within their registers; and the report of it can be trusted."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "compile_cuda.py"
# Two kernels as nvcc 13.0 reports them; the second one spills.
REPORT = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN7kdbench4cuda12scale_kernelIfEEvPT_lPKNS0_7ElementIS2_E3AccE' for 'sm_90a'
ptxas info    : Function properties for _ZN7kdbench4cuda12scale_kernelIfEEvPT_lPKNS0_7ElementIS2_E3AccE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 28 registers, used 0 barriers, 1056 bytes smem
ptxas info    : Compile time = 15.000 ms
ptxas info    : Compiling entry function '_ZN7kdbench4cuda11rows_kernelINS0_2KlIfEELi9EEEvv' for 'sm_80'
ptxas info    : Function properties for _ZN7kdbench4cuda11rows_kernelINS0_2KlIfEELi9EEEvv
    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 24 bytes cumulative stack size
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/compile_cuda.py."""
    spec = importlib.util.spec_from_file_location("compile_cuda", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compile_cuda"] = module
    spec.loader.exec_module(module)
    return module


def test_the_report_gives_registers_shared_memory_and_spills(tool: ModuleType) -> None:
    scale, kl = tool.kernels_of(REPORT)
    assert (scale.arch, scale.registers, scale.shared, scale.spill_stores) == ("90a", 28, 1056, 0)
    assert (kl.arch, kl.registers, kl.stack, kl.spill_stores, kl.spill_loads) == ("80", 128, 24, 20, 16)


def test_names_are_as_in_the_source(tool: ModuleType) -> None:
    names = tool.readable([kernel.name for kernel in tool.kernels_of(REPORT)])
    assert names == ["scale_kernel<float>", "rows_kernel<Kl<float>, 9>"]


def test_spills_warnings_and_failures_are_problems(tool: ModuleType) -> None:
    compiled = [
        tool.Compiled("kl.cu", "80", 1.0, 0, REPORT + 'kl.cu(3): warning #177-D: variable "x" was never used\n'),
        tool.Compiled("dkd.cu", "80", 1.0, 1, "dkd.cu(1): error: expected a ;"),
    ]
    warning, failure, spill = tool.problems(compiled, tool.kernels_of(REPORT))
    assert warning.startswith("kl.cu for sm_80: kl.cu(3): warning")
    assert "expected a ;" in failure
    assert "spills: 20 bytes stored, 16 loaded" in spill


def test_a_report_without_resources_is_an_error(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="no resources of kernel"):
        tool.kernels_of("ptxas info    : Compiling entry function 'kernel' for 'sm_80'\n")


@pytest.mark.slow
def test_every_kernel_compiles_for_every_architecture_without_a_warning_or_a_spill(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("nvcc") is None:
        assert not os.environ.get("CI"), "CI compiles the CUDA kernels: nvcc must be in PATH"
        pytest.skip("nvcc is not in PATH")
    report = tmp_path / "report.json"
    status = tool.main(["--json", str(report)])
    output = capsys.readouterr()
    assert status == 0, output.out + output.err
    kernels = json.loads(report.read_text())["kernels"]
    assert {kernel["arch"] for kernel in kernels} == set(tool.ARCHITECTURES)
    losses = ("Kl", "Hinton", "Diverge", "Dkd", "Topk")
    assert all(
        any(f"<{loss}<{t}" in kernel["name"] for kernel in kernels) for loss in losses for t in ("float", "bf16")
    )
    print(output.out)
