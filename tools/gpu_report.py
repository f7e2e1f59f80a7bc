"""Everything that needs a GPU, in one go: tests, sanitizers, bandwidth, benchmarks; written to results/gpu/.

    python tools/gpu_report.py [--only STEP ...] [--out DIRECTORY] [--plan]

Steps run one after the other, and one that fails does not stop the rest. compute-sanitizer and ncu come with the CUDA
toolkit; a step whose program is not in PATH is reported as not run.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DRIVER = str(ROOT / "tools" / "gpu_driver.py")
# (operator, rows, classes, dtype): the shapes whose bandwidth is promised, and one for each way of holding a row.
PROFILED = (
    ("kl", 4096, 32000, "bf16"),
    ("kl", 256, 128256, "bf16"),
    ("kl", 4096, 32000, "f32"),
    ("kl", 16384, 1000, "bf16"),
    ("kl", 65536, 100, "f32"),
    ("hinton", 4096, 32000, "bf16"),
    ("divergence", 4096, 32000, "bf16"),
    ("dkd", 4096, 32000, "bf16"),
    ("topk", 4096, 32000, "bf16"),
)
LIGER = ((4096, 32000, "bf16"), (256, 128256, "bf16"))
BYTES = {"f32": 4, "f64": 8, "bf16": 2, "f16": 2}
METRICS = {
    "gpu__time_duration.sum": "nanoseconds",
    "dram__bytes_read.sum": "bytes_read",
    "dram__bytes_write.sum": "bytes_written",
}
STEP_SECONDS = 3600


@dataclass(frozen=True)
class Step:
    """A program to run, and how to read what it printed.

    `read` takes its output; it raises ValueError where the output is not what it should be. `passes` says of what was
    read whether it is good; a program that fails never is.
    """

    name: str
    command: Sequence[str]
    read: Callable[[str], dict[str, Any]]
    passes: Callable[[dict[str, Any]], bool] = field(default=lambda _: True)


@dataclass(frozen=True)
class Outcome:
    """What came of a step: passed, failed, or "not run" with the reason."""

    name: str
    command: str
    status: str
    seconds: float
    result: dict[str, Any]
    problem: str = ""


def plan() -> list[Step]:
    """The steps, in order."""
    python = sys.executable
    sanitize = ["compute-sanitizer", "--error-exitcode", "1"]
    profile = ["ncu", "--csv", "--print-units", "base", "--kernel-name", "regex:rows_kernel", "--launch-skip", "2"]
    profile += ["--launch-count", "1", "--metrics", ",".join(METRICS)]
    steps = [
        Step("build", [python, "-m", "kdbench", "kernels", "build"], lambda output: {"output": output[-2000:]}),
        Step("cases", [python, "-m", "pytest", "-q", "tests/kernels/test_cuda_gpu.py"], read_pytest, _all_passed),
        Step("check", [python, "-m", "kdbench", "kernels", "check"], lambda output: {"table": output}),
    ]
    for tool in ("memcheck", "racecheck", "synccheck", "initcheck"):
        command = [*sanitize, "--tool", tool, python, DRIVER, "small"]
        steps.append(Step(tool, command, read_sanitizer, lambda result: result["errors"] == 0))
    for operator, rows, classes, dtype in PROFILED:
        command = [*profile, python, DRIVER, "one", operator, str(rows), str(classes), dtype]
        least = minimal_bytes(operator, rows, classes, dtype)
        steps.append(Step(f"ncu-{operator}-{rows}x{classes}-{dtype}", command, _profile_reader(least)))
    steps.append(Step("bench", [python, "-m", "kdbench", "kernels", "bench", "--json"], json.loads))
    for rows, classes, dtype in LIGER:
        command = [python, DRIVER, "liger", str(rows), str(classes), dtype]
        steps.append(Step(f"liger-{rows}x{classes}-{dtype}", command, json.loads))
    return steps


def minimal_bytes(operator: str, rows: int, classes: int, dtype: str) -> int:
    """Bytes that no implementation can do without: the logits read once, the gradient written once."""
    matrices = 2 if operator == "topk" else 3
    return matrices * rows * classes * BYTES[dtype]


def read_pytest(output: str) -> dict[str, Any]:
    """Counts of pytest's last line."""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", output)}
    if not counts:
        raise ValueError("pytest printed no summary")
    return counts


def read_sanitizer(output: str) -> dict[str, Any]:
    """compute-sanitizer's number of errors; racecheck words it in its own way."""
    found = re.search(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard", output)
    if found is None:
        raise ValueError("compute-sanitizer printed no summary")
    errors = int(found[1] or found[2] or 0)
    return {"errors": errors, "first": _first_report(output) if errors else ""}


def read_profile(output: str, least_bytes: int) -> dict[str, Any]:
    """Figures of ncu for one launch, and the rate at which the least bytes were moved."""
    lines = output.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise ValueError("ncu printed no table")
    result: dict[str, Any] = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines[start:]))):
        result["kernel"] = row["Kernel Name"]
        if row["Metric Name"] in METRICS:
            result[METRICS[row["Metric Name"]]] = float(row["Metric Value"].replace(",", ""))
    missing = set(METRICS.values()) - set(result)
    if missing:
        raise ValueError(f"ncu did not report {', '.join(sorted(missing))}")
    # Bytes in a nanosecond are GB/s.
    result["least_gb_per_second"] = least_bytes / result["nanoseconds"]
    result["dram_gb_per_second"] = (result["bytes_read"] + result["bytes_written"]) / result["nanoseconds"]
    result["dram_over_least"] = (result["bytes_read"] + result["bytes_written"]) / least_bytes
    return result


def run(step: Step, available: Callable[[str], str | None] = shutil.which) -> Outcome:
    """Run one step."""
    command = " ".join(step.command)
    program = step.command[0]
    if available(program) is None:
        return Outcome(step.name, command, "not run", 0.0, {}, f"{program} is not in PATH")
    start = time.monotonic()
    try:
        done = subprocess.run(step.command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=STEP_SECONDS)
    except subprocess.TimeoutExpired:
        return Outcome(step.name, command, "failed", time.monotonic() - start, {}, f"not done after {STEP_SECONDS} s")
    seconds = time.monotonic() - start
    try:
        result = step.read(done.stdout)
    except ValueError as error:
        return Outcome(step.name, command, "failed", seconds, {}, f"{error}\n{(done.stdout + done.stderr)[-3000:]}")
    if done.returncode != 0 or not step.passes(result):
        problem = f"exit status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
        return Outcome(step.name, command, "failed", seconds, result, problem)
    return Outcome(step.name, command, "passed", seconds, result)


def facts() -> dict[str, str]:
    """Device, driver, versions, commit."""
    import torch

    device = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    return {
        "device": f"{device.name}, {device.multi_processor_count} SMs, {device.total_memory / 2**30:.0f} GiB",
        "compute capability": f"{device.major}.{device.minor}",
        "driver, clock, power limit": _said(query),
        "nvcc": _said(["nvcc", "--version"]).splitlines()[-1],
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        "python": sys.version.split()[0],
        "commit": _said(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def markdown(about: dict[str, str], outcomes: Sequence[Outcome]) -> str:
    """The report as a page."""
    lines = ["# CUDA kernels on a GPU", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    lines += ["| step | status | seconds | |", "| --- | --- | --- | --- |"]
    for outcome in outcomes:
        lines.append(f"| {outcome.name} | {outcome.status} | {outcome.seconds:.0f} | {_remark(outcome)} |")
    profiles = [outcome for outcome in outcomes if "least_gb_per_second" in outcome.result]
    if profiles:
        lines += [
            "",
            "Bandwidth by ncu: the least bytes (logits read once, gradient written once) over the kernel's time.",
        ]
        lines += [
            "",
            "| shape | µs | GB/s of the least bytes | DRAM GB/s | DRAM bytes / least |",
            "| --- | --- | --- | --- | --- |",
        ]
        for outcome in profiles:
            result = outcome.result
            lines.append(
                f"| {outcome.name.removeprefix('ncu-')} | {result['nanoseconds'] / 1e3:.1f} "
                f"| {result['least_gb_per_second']:.0f} | {result['dram_gb_per_second']:.0f} "
                f"| {result['dram_over_least']:.2f} |"
            )
    failed = [outcome for outcome in outcomes if outcome.problem and outcome.status == "failed"]
    for outcome in failed:
        lines += ["", f"## {outcome.name}", "", f"`{outcome.command}`", "", "```", outcome.problem.strip(), "```"]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps, write the report, and return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="STEP", help="a step's name, or how names begin")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu")
    parser.add_argument("--plan", action="store_true", help="print the steps and do nothing")
    options = parser.parse_args(arguments)
    steps = [step for step in plan() if not options.only or step.name.startswith(tuple(options.only))]
    if options.plan:
        print("\n".join(f"{step.name}: {' '.join(step.command)}" for step in steps))
        return 0
    import torch

    if not torch.cuda.is_available():
        print("torch finds no GPU that it can use: nothing was measured, nothing written", file=sys.stderr)
        return 2
    outcomes = []
    for step in steps:
        print(f"{step.name} ...", file=sys.stderr, flush=True)
        outcomes.append(run(step))
        print(f"{step.name}: {outcomes[-1].status} after {outcomes[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    about = facts()
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"facts": about, "steps": [asdict(outcome) for outcome in outcomes]}
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "README.md").write_text(markdown(about, outcomes))
    print(options.out / "README.md")
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _profile_reader(least_bytes: int) -> Callable[[str], dict[str, Any]]:
    return lambda output: read_profile(output, least_bytes)


def _all_passed(counts: dict[str, Any]) -> bool:
    return counts.get("passed", 0) > 0 and not any(
        counts.get(word) for word in ("failed", "error", "errors", "skipped")
    )


def _first_report(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith("=========")]
    return "\n".join(lines[1:12])


def _remark(outcome: Outcome) -> str:
    if outcome.status == "not run":
        return outcome.problem
    keys = ("passed", "failed", "errors", "ratio", "missing")
    return ", ".join(f"{key} {outcome.result[key]}" for key in keys if key in outcome.result)


def _said(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown ({error})"


if __name__ == "__main__":
    sys.exit(main())
