"""The CPU operators against float64, case by case, and as torch sees operators."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import operator_cases
import pytest
import torch

from kdbench.kernels.loading import load_cpu

IN_PLACE = [
    operator_cases.Case(name, dtype, classes, 7) for name in ("kl", "hinton") for dtype in ("f32", "bf16")
    for classes in (3, 16, 100, 4097)
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    loaded = load_cpu(warn=False)
    if loaded is None and shutil.which("c++") is None and "CI" not in os.environ:
        pytest.skip("no C++ compiler")
    assert loaded is not None, "the CPU kernels do not build here: kdbench kernels build says why"


@pytest.mark.parametrize("case", operator_cases.CASES, ids=lambda case: case.id)
def test_it_is_the_loss_and_gradient_of_float64(case):
    arguments = case.arguments()
    rows, totals, grad = getattr(torch.ops.kdbench, case.operator)(*arguments.values())
    operator_cases.assert_matches(case, rows, totals, grad, arguments)


@pytest.mark.parametrize("case", IN_PLACE, ids=lambda case: case.id)
def test_in_place_the_gradient_overwrites_the_logits(case):
    arguments = case.arguments()
    rows, totals, grad = getattr(torch.ops.kdbench, case.operator)(*arguments.values())
    student = arguments["student"]
    again = getattr(torch.ops.kdbench, f"{case.operator}_")(*arguments.values())
    assert torch.equal(student, grad)
    assert torch.equal(again[0], rows)
    assert torch.equal(again[1], totals)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("operator", ["kl", "hinton", "divergence", "dkd", "topk"])
def test_nothing_has_no_loss(operator, shape):
    case = operator_cases.Case(operator, "f32", 5, 3)
    arguments = case.arguments()
    arguments["student"] = torch.zeros(shape)
    for name in ("teacher", "teacher_values", "teacher_indices"):
        if name in arguments:
            arguments[name] = torch.zeros(shape, dtype=arguments[name].dtype)
    if "labels" in arguments:
        arguments["labels"] = torch.zeros(shape[0], dtype=torch.int64)
    rows, totals, grad = getattr(torch.ops.kdbench, operator)(*arguments.values())
    assert rows.abs().sum() == totals.abs().sum() == 0
    assert grad.shape == shape


def test_any_number_of_threads_gives_the_same_bits():
    case = operator_cases.Case("hinton", "f32", 1000, 257)
    arguments = case.arguments()
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(torch.ops.kdbench.hinton(*arguments.values()))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("rows", [40, 300])
def test_rows_beside_it_do_not_change_a_row(rows):
    """The gradient of a row is written while the next is read; large batches are written past the caches."""
    case = operator_cases.Case("kl", "f32", 33000, rows)
    arguments = case.arguments()
    _, _, grad = torch.ops.kdbench.kl(*arguments.values())
    for row in (0, 1, rows // 2, rows - 1):
        single = arguments | {"student": arguments["student"][row : row + 1].clone(),
                              "teacher": arguments["teacher"][row : row + 1].clone()}  # fmt: skip
        assert torch.equal(torch.ops.kdbench.kl(*single.values())[2][0], grad[row])


@pytest.mark.parametrize("operator", ["kl", "hinton", "divergence", "dkd", "topk"])
def test_torch_accepts_the_registration(operator):
    case = operator_cases.Case(operator, "f32", 10, 4)
    arguments = case.arguments()
    torch.library.opcheck(getattr(torch.ops.kdbench, operator).default, tuple(arguments.values()))
    arguments["student"].requires_grad_()
    torch.library.opcheck(getattr(torch.ops.kdbench, operator).default, tuple(arguments.values()))


@pytest.mark.parametrize("operator", ["kl_", "hinton_"])
def test_torch_accepts_the_registration_of_the_twins_in_place(operator):
    case = operator_cases.Case(operator.rstrip("_"), "f32", 10, 4)
    torch.library.opcheck(getattr(torch.ops.kdbench, operator).default, tuple(case.arguments().values()))


def test_what_would_read_outside_of_memory_is_refused():
    student = torch.zeros(3, 5)
    for teacher in (torch.zeros(3, 4), torch.zeros(2, 5), torch.zeros(3, 5, dtype=torch.float64), torch.zeros(5, 3).T):
        with pytest.raises(RuntimeError, match=r"kdbench: teacher|kdbench: student and teacher differ"):
            torch.ops.kdbench.kl(student, teacher, 1.0, None, 1.0, None, 0, False)
    with pytest.raises(RuntimeError, match="one value for each row"):
        torch.ops.kdbench.kl(student, student, 1.0, torch.ones(2), 1.0, None, 0, False)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", "undefined"])
def test_the_rows_are_read_and_written_within_memory(tmp_path, sanitizer):
    """The row kernels in a program of their own under a sanitizer, for every instruction set of this machine."""
    root = Path(__file__).parents[2]
    program = tmp_path / "rows"
    flags = ["-std=c++17", "-O1", "-g", "-march=native", "-DKDBENCH_ISA=native", f"-fsanitize={sanitizer}",
             "-fno-sanitize-recover=all", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]  # fmt: skip
    sources = [root / "csrc/cpu/rows.cpp", root / "csrc/cpu/rows_plain.cpp", root / "tests/kernels/rows_driver.cpp"]
    subprocess.run(["c++", *flags, f"-I{root / 'csrc'}", *sources, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "problems" in done.stdout
