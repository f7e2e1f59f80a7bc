"""The CUDA operators on a real GPU: every case of the table, streams, graphs, devices. Skipped where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from operator_cases import CASES, OPTIONS, Case, assert_matches
from torch import Tensor

if not torch.cuda.is_available():
    pytest.skip("torch finds no GPU that it can use", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def _operators() -> None:
    """torch.ops.kdbench with the CUDA kernels, which must build where there is a GPU."""
    from kdbench.kernels import loading

    assert loading.load_cuda(warn=False) is not None, loading.problem("cuda")


def _on(device: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in arguments.items()}


def _call(operator: str, arguments: dict[str, Any]) -> tuple[Tensor, ...]:
    return getattr(torch.ops.kdbench, operator)(**arguments)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_case_matches_the_float64_reference(case: Case) -> None:
    rows, totals, grad = _call(case.operator, _on("cuda", case.arguments()))
    assert_matches(case, rows, totals, grad)


@pytest.mark.parametrize("classes", [10, 1000, 4097, 60001])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_a_gradient_in_the_students_place_is_the_same(dtype: str, classes: int) -> None:
    arguments = _on("cuda", Case("kl", dtype, classes, 50).arguments())
    rows, totals, grad = _call("kl", arguments)
    own = {**arguments, "student": arguments["student"].clone()}
    rows_in_place, totals_in_place = _call("kl_", own)
    assert torch.equal(own["student"], grad)
    assert torch.equal(rows, rows_in_place)
    assert torch.equal(totals, totals_in_place)


@pytest.mark.parametrize("operator", list(OPTIONS))
def test_the_same_bits_at_every_call(operator: str) -> None:
    arguments = _on("cuda", Case(operator, "f32", 4097, 300).arguments())
    first = _call(operator, arguments)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(first, _call(operator, arguments), strict=True))


@pytest.mark.parametrize("operator", list(OPTIONS))
def test_calls_are_captured_in_a_graph_and_wait_for_nobody(operator: str) -> None:
    case = Case(operator, "f32", 4097, 40)
    arguments = _on("cuda", case.arguments())
    expected = _call(operator, arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = _call(operator, arguments)
    for tensor in captured:
        tensor.fill_(7)
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(expected, captured, strict=True))


def test_work_is_put_on_the_current_stream() -> None:
    arguments = _on("cuda", Case("kl", "f32", 1000, 4000).arguments())
    expected = arguments["student"] * 0 + 1
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        arguments["student"].copy_(expected)
        late, _, _ = _call("kl", arguments)
    torch.cuda.synchronize()
    assert torch.equal(late, _call("kl", {**arguments, "student": expected})[0])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_tensors_of_another_device_than_the_current_one() -> None:
    case = Case("kl", "f32", 1000, 40)
    rows, totals, grad = _call("kl", _on("cuda:1", case.arguments()))
    assert torch.cuda.current_device() == 0
    assert rows.device == totals.device == grad.device == torch.device("cuda:1")
    assert_matches(case, rows, totals, grad)


def test_more_elements_than_2_to_the_31() -> None:
    rows, classes = 33_000, 65_536
    if torch.cuda.mem_get_info()[0] < 3 * 2 * rows * classes + (1 << 30):
        pytest.skip("too little memory on the GPU")
    student = torch.zeros(rows, classes, dtype=torch.bfloat16, device="cuda")
    teacher = torch.zeros_like(student)
    teacher[-1, -1] = 4
    losses, _, grad = _call("kl", {
        "student": student, "teacher": teacher, "temperature": 1.0, "row_temperature": None, "scale": 1.0,
        "row_scale": None, "teacher_is": 0, "standardize": False,
    })  # fmt: skip
    assert not losses[:-1].any()
    assert losses[-1] > 0
    assert grad[-1, -1] < 0
    assert not grad[:-1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_scaling_by_a_number_on_the_device(dtype: torch.dtype) -> None:
    grad = torch.randn(1001, device="cuda").to(dtype)[1:]
    acc = torch.promote_types(dtype, torch.float32)
    before = grad.clone()
    torch.ops.kdbench.scale_(grad, torch.ones((), dtype=acc, device="cuda"))
    assert torch.equal(grad, before)
    torch.ops.kdbench.scale_(grad, torch.full((), 0.3, dtype=acc, device="cuda"))
    assert torch.allclose(grad.double(), before.double() * 0.3, rtol=2 * torch.finfo(dtype).eps, atol=0)
