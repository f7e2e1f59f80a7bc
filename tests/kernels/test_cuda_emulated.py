"""The CUDA kernels, run on the host thread by thread: every case of the table, and what only a kernel can get wrong."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator

import emulated_cuda as emulated
import numpy as np
import pytest
import rowwise_references as references
import torch
from operator_cases import CASES, OPTIONS, Case, assert_matches
from torch import Tensor

pytestmark = pytest.mark.xdist_group("cuda_emulation")

OPERATORS = tuple(OPTIONS)


@pytest.fixture
def little_shared_memory() -> Iterator[None]:
    """A device on which a block keeps but the beginning of a row of a few thousand classes."""
    emulated.module().set_shared_memory(*emulated.LITTLE_SHARED_MEMORY)
    yield
    emulated.module().set_shared_memory(*emulated.SHARED_MEMORY)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_case_matches_the_float64_reference(case: Case) -> None:
    rows, totals, grad = emulated.call(case.operator, case.arguments())
    assert grad is not None
    assert_matches(case, rows, totals, grad)


@pytest.mark.parametrize("classes", [7, 33, 1000, 1500])
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_gradient_in_the_students_place_is_the_same(operator: str, dtype: str, classes: int) -> None:
    arguments = Case(operator, dtype, classes, 5).arguments()
    apart = emulated.call(operator, arguments)
    in_place = emulated.call(operator, arguments, in_place=True)
    assert all(_same(a, b) for a, b in zip(apart, in_place, strict=True))


@pytest.mark.usefixtures("little_shared_memory")
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_rows_that_shared_memory_cannot_hold_are_read_again(operator: str, dtype: str, in_place: bool) -> None:
    case = Case(operator, dtype, 12001, 3)
    emulated.module().launches()
    rows, totals, grad = emulated.call(operator, case.arguments(), in_place=in_place)
    (_, _, shared), _ = emulated.module().launches()
    itemsize = torch.empty(0, dtype=case.normal(1).dtype).itemsize
    assert shared < 12001 * itemsize * (1 if operator == "topk" else 2)
    assert grad is not None
    assert_matches(case, rows, totals, grad)


@pytest.mark.usefixtures("little_shared_memory")
@pytest.mark.parametrize("option", ["standardize", "masked", "broken_rows", "row_scale", "probs"])
def test_options_of_rows_that_shared_memory_cannot_hold(option: str) -> None:
    case = Case("kl", "f32", 6001, 7, option, OPTIONS["kl"][option])
    rows, totals, grad = emulated.call("kl", case.arguments())
    assert grad is not None
    assert_matches(case, rows, totals, grad)


@pytest.mark.parametrize(
    "offsets",
    [
        {"student": 1, "teacher": 1, "grad": 1},
        {"student": 1, "teacher": 0, "grad": 0},
        {"student": 0, "teacher": 1, "grad": 0},
        {"student": 0, "teacher": 0, "grad": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("classes", [8, 31, 200, 1024, 1501])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("operator", ["kl", "topk"])
def test_matrices_may_begin_at_any_element(operator: str, dtype: str, classes: int, offsets: dict[str, int]) -> None:
    case = Case(operator, dtype, classes, 4)
    size = 4 if dtype == "f32" else 2
    in_bytes = {name: elements * size for name, elements in offsets.items()}
    rows, totals, grad = emulated.call(operator, case.arguments(), offsets=in_bytes)
    assert grad is not None
    assert_matches(case, rows, totals, grad)


@pytest.mark.parametrize(
    ("classes", "dtype", "rows_of_block", "threads"),
    [(10, "f32", 32, 128), (100, "f32", 4, 128), (1000, "f32", 4, 128), (1000, "bf16", 4, 128), (1500, "f32", 1, 96)],
)
def test_rows_are_spread_by_their_width(classes: int, dtype: str, rows_of_block: int, threads: int) -> None:
    emulated.module().launches()
    emulated.call("kl", Case("kl", dtype, classes, 64).arguments())
    (blocks, block_threads, _), totals = emulated.module().launches()
    assert (blocks, block_threads) == (64 // rows_of_block, threads)
    assert totals[0] == 1


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_rows_loss_does_not_depend_on_the_other_rows(operator: str) -> None:
    arguments = Case(operator, "f32", 100, 9).arguments()
    alone = {
        name: value[4:5] if isinstance(value, Tensor) and len(value) == 9 else value
        for name, value in arguments.items()
    }
    whole, one = emulated.call(operator, arguments), emulated.call(operator, alone)
    assert whole[2] is not None
    assert one[2] is not None
    assert _same(whole[0][4:5], one[0])
    assert _same(whole[2][4:5], one[2])


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("shape", [(0, 10), (3, 0), (0, 0)])
def test_an_empty_batch_has_no_loss(operator: str, shape: tuple[int, int]) -> None:
    case = Case(operator, "f32", max(1, shape[1]), shape[0])
    arguments = case.arguments() if shape[0] else Case(operator, "f32", max(1, shape[1]), 1).arguments()
    student = torch.empty(shape)
    arguments["student"] = student
    for name, value in arguments.items():
        if isinstance(value, Tensor) and name != "student":
            arguments[name] = torch.empty(shape) if name == "teacher" else value[: shape[0]]
    rows, totals, grad = emulated.call(operator, arguments)
    assert grad is not None
    assert not rows.any()
    assert not totals.any()
    assert not grad.numel()


def test_losses_come_without_a_gradient_too() -> None:
    arguments = Case("hinton", "f32", 50, 6).arguments()
    with_gradient = emulated.call("hinton", arguments)
    without = emulated.call("hinton", arguments, gradient=False)
    assert without[2] is None
    assert _same(with_gradient[0], without[0])


def test_the_last_row_of_more_elements_than_2_to_the_31() -> None:
    classes, rows = 1 << 20, 2050
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(1, classes, generator=generator).bfloat16() for _ in range(2))
    loss = emulated.module().last_row(rows, student.view(torch.int16).numpy(), teacher.view(torch.int16).numpy())
    arguments = {"student": student, "teacher": teacher, "temperature": 1.0, "row_temperature": None, "scale": 1.0}
    arguments |= {"row_scale": None, "teacher_is": references.LOGITS, "standardize": False}
    _, expected, _ = references.reference("kl", arguments)
    assert rows * classes > 2**31
    assert loss == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("count", [1, 3, 8, 1000, 20001])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("dtype", list(emulated.DTYPES), ids=str)
def test_scaling_multiplies_every_element(dtype: torch.dtype, offset: int, count: int) -> None:
    data = torch.randn(count, generator=torch.Generator().manual_seed(count)).to(dtype)
    expected = (data.to(torch.promote_types(dtype, torch.float32)) * 0.3).to(dtype)
    scaled = emulated.scale(data, 0.3, offset * data.element_size())
    assert torch.allclose(scaled.double(), expected.double(), rtol=torch.finfo(dtype).eps, atol=0)


def test_scaling_by_one_leaves_every_bit_and_by_nan_none() -> None:
    data = torch.tensor([math.nan, math.inf, -0.0, 1e-45, 2.0])
    assert _same(emulated.scale(data, 1.0).view(torch.int32), data.view(torch.int32))
    assert emulated.scale(data, math.nan).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_16_bit_number_is_read_and_written_as_torch_does(dtype: torch.dtype) -> None:
    numbers = torch.from_numpy(np.arange(65536, dtype=np.uint16).view(np.int16)).view(dtype)
    for factor in (2.0, 0.37, 1 / 3000):
        expected = (numbers.float() * torch.tensor(factor)).to(dtype)
        got = emulated.scale(numbers, factor)
        assert torch.equal(got.isnan(), expected.isnan())
        assert torch.equal(got[~got.isnan()], expected[~got.isnan()])


def test_shuffles_exchange_within_the_warp_and_shared_memory_begins_as_nan() -> None:
    sums, fresh = emulated.module().emulated_sum(96)
    assert sums == [sum(range(warp * 32, warp * 32 + 32)) for warp in range(3) for _ in range(32)]
    assert math.isnan(fresh)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("barrier", "a barrier that ended threads never came to.*thread 3 has ended"),
        ("shuffle", "threads wait for others that do not come.*thread 40 has ended"),
        ("distance", "meet in different places.*thread 8 waits in __shfl_xor_sync 2"),
        ("mixed", "wait for each other in different places"),
        ("shared", "shared memory: written before its beginning"),
    ],
)
def test_the_emulator_tells_of_divergence_and_of_writes_out_of_bounds(how: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        emulated.module().diverge(how)


@pytest.mark.slow
def test_the_kernels_are_clean_under_address_and_undefined_behaviour_sanitizers() -> None:
    done = subprocess.run([emulated.sanitized_driver()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "560 calls, 0 failures" in done.stdout


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """The same bits."""
    if a is None or b is None:
        return a is b
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return torch.equal(a.view(integers[a.element_size()]), b.view(integers[b.element_size()]))
