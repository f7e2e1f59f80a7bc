"""The report of a GPU machine, where it can be tested without one: what is planned, read and written."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNEL = "void rows_kernel<Kl<bf16>, 0>(Problem, Plan)"


def _measured(metric: str, unit: str, value: str) -> str:
    place = f'"0","4242","python3.12","127.0.0.1","{KERNEL}","1","7","(384, 1, 1)","(4096, 1, 1)","0","9.0"'
    return f'{place},"Command line profiler metrics","{metric}","{unit}","{value}"'


# As ncu prints it with --csv --print-units base.
PROFILE = "\n".join([
    "==PROF== Connected to process 4242 (/usr/bin/python3.12)",
    '==PROF== Profiling "rows_kernel" - 0: 0%....50%....100% - 1 pass',
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device",'
    '"CC","Section Name","Metric Name","Metric Unit","Metric Value"',
    _measured("dram__bytes_read.sum", "byte", "540,000,000"),
    _measured("dram__bytes_write.sum", "byte", "246,432,000"),
    _measured("gpu__time_duration.sum", "ns", "300,000"),
])  # fmt: skip


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/gpu_report.py."""
    spec = importlib.util.spec_from_file_location("gpu_report", ROOT / "tools" / "gpu_report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_report"] = module
    spec.loader.exec_module(module)
    return module


def test_the_plan_has_every_step_once_and_its_scripts_exist(tool: ModuleType) -> None:
    steps = tool.plan()
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert {"cases", "memcheck", "racecheck", "bench", "ncu-kl-4096x32000-bf16", "liger-256x128256-bf16"} <= set(names)
    scripts = {word for step in steps for word in step.command if word.endswith(".py")}
    assert all((ROOT / script).exists() for script in scripts)


def test_ncus_table_gives_time_and_bandwidth(tool: ModuleType) -> None:
    least = tool.minimal_bytes("kl", 4096, 32000, "bf16")
    result = tool.read_profile(PROFILE, least)
    assert least == 786_432_000
    assert result["least_gb_per_second"] == pytest.approx(2621.44)
    assert result["dram_gb_per_second"] == pytest.approx(2621.44)
    assert result["dram_over_least"] == pytest.approx(1)
    with pytest.raises(ValueError, match="did not report nanoseconds"):
        tool.read_profile(PROFILE.replace("gpu__time_duration.sum", "other"), least)
    with pytest.raises(ValueError, match="no table"):
        tool.read_profile("==ERROR== ERR_NVGPUCTRPERM", least)


@pytest.mark.parametrize(
    ("output", "errors"),
    [
        ("========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n", 0),
        ("========= COMPUTE-SANITIZER\n========= Invalid __global__ read\n========= ERROR SUMMARY: 3 errors\n", 3),
        ("========= COMPUTE-SANITIZER\n========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)\n", 2),
    ],
)
def test_the_sanitizers_errors_are_counted(tool: ModuleType, output: str, errors: int) -> None:
    result = tool.read_sanitizer(output)
    assert result["errors"] == errors
    assert ("Invalid" in result["first"]) == (errors == 3)


def test_output_without_a_summary_is_an_error(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="no summary"):
        tool.read_sanitizer("Killed")
    with pytest.raises(ValueError, match="no summary"):
        tool.read_pytest("Killed")


def test_a_step_fails_by_its_status_by_what_it_read_or_for_want_of_its_program(tool: ModuleType) -> None:
    def step(code: str, passes: bool = True) -> object:
        return tool.Step("one", [sys.executable, "-c", code], tool.read_pytest, lambda _: passes)

    assert tool.run(step("print('3 passed in 1s')")).status == "passed"
    assert tool.run(step("print('3 passed in 1s')", passes=False)).status == "failed"
    died = tool.run(step("import sys; print('2 passed, 1 failed'); sys.exit('boom')"))
    assert (died.status, died.result) == ("failed", {"passed": 2, "failed": 1})
    assert "boom" in died.problem
    silent = tool.run(step("pass"))
    assert (silent.status, silent.problem.splitlines()[0]) == ("failed", "pytest printed no summary")
    missing = tool.run(tool.Step("ncu", ["no-such-program"], tool.read_pytest))
    assert (missing.status, missing.problem) == ("not run", "no-such-program is not in PATH")


def test_skipped_cases_are_no_pass(tool: ModuleType) -> None:
    cases = next(step for step in tool.plan() if step.name == "cases")
    assert cases.passes(cases.read("1780 passed in 60s"))
    assert not cases.passes(cases.read("1780 skipped in 1s"))
    assert not cases.passes(cases.read("1779 passed, 1 failed in 60s"))


def test_the_page_names_device_and_commit_and_shows_failures(tool: ModuleType) -> None:
    profile = tool.read_profile(PROFILE, 786_432_000)
    outcomes = [
        tool.Outcome("ncu-kl-4096x32000-bf16", "ncu ...", "passed", 9.0, profile),
        tool.Outcome("memcheck", "compute-sanitizer ...", "failed", 3.0, {"errors": 1}, "Invalid __global__ read"),
    ]
    page = tool.markdown({"device": "an H100", "commit": "abc"}, outcomes)
    assert "- device: an H100" in page
    assert "| kl-4096x32000-bf16 | 300.0 | 2621 | 2621 | 1.00 |" in page
    assert "| memcheck | failed | 3 | errors 1 |" in page
    assert "Invalid __global__ read" in page


def test_without_a_gpu_nothing_is_written(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert tool.main(["--out", str(tmp_path / "gpu")]) == 2
    assert not (tmp_path / "gpu").exists()
