"""What holds for every loss, on every back end."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loss_table import LOSSES, Inputs, inputs

SHAPES = [(1, 5), (4, 2), (7, 33), (3, 1000), (2, 3, 17), (9,)]
# Relative to the reference; float32 and 16-bit losses are summed in float32 from inputs that are exact.
LOSS_ERROR = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-6, torch.float16: 1e-6}
GRADIENT_ERROR = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 6e-4}
DTYPES = list(LOSS_ERROR)
ALSO_ROUNDED = {
    "kl-log_probs",
    "kl-probs",
    "topk-log_probs",
    "topk-probs",
    "topk-log_probs-bucket",
    "topk-probs-bucket",
}


def gradient_of(loss, student, data):
    leaf = student.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.call(leaf, data), leaf)
    return gradient


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_loss_is_that_of_the_formula_in_float64(loss, backend, shape, dtype):
    if dtype in {torch.bfloat16, torch.float16} and loss.name in ALSO_ROUNDED:
        pytest.skip("the teacher's probabilities are rounded before the loss sees them")
    data = inputs(*shape, dtype=dtype)
    value = loss.call(data.student, data)
    assert value.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
    assert value.item() == pytest.approx(loss.expected(data), rel=LOSS_ERROR[dtype] * 3, abs=LOSS_ERROR[dtype] / 5)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("shape", [(7, 33), (3, 1000)], ids=str)
def test_narrow_gradients_are_the_float64_gradients_rounded_once(loss, backend, shape, dtype):
    data = inputs(*shape, dtype=dtype)
    exact = gradient_of(loss, data.student.double(), data.to(torch.float64))
    got = gradient_of(loss, data.student, data)
    assert got.dtype == dtype
    allowed = GRADIENT_ERROR[dtype] if loss.name not in ALSO_ROUNDED else max(GRADIENT_ERROR[dtype], 3e-6) * 3
    assert float((got.double() - exact).norm() / exact.norm()) <= allowed * 2


@pytest.mark.parametrize("shape", [(3, 5), (2, 1), (4,)], ids=str)
def test_first_and_second_derivatives_are_those_of_finite_differences(loss, backend, shape):
    data = inputs(*shape)
    student = data.student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss.call(s, data), student)
    if loss.name != "tvd" and shape[-1] > 1:  # |p − q| has none where they cross
        assert torch.autograd.gradgradcheck(lambda s: loss.call(s, data), student)


def test_the_teacher_gets_a_gradient_where_it_requires_one(loss, backend):
    data = inputs(3, 5)
    teacher = data.teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda t: loss.call(data.student, Inputs(data.student, t, data.labels)), teacher)


def test_the_twin_returns_the_loss_and_its_gradient(loss, backend):
    data = inputs(2, 3, 17, dtype=torch.float32)
    value, gradient = loss.twin(data.student, data)
    assert not value.requires_grad
    assert gradient.shape == data.student.shape
    torch.testing.assert_close(value, loss.call(data.student, data), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(gradient, gradient_of(loss, data.student, data), rtol=1e-5, atol=1e-7)


def test_the_inputs_are_left_as_they_were(loss, backend):
    data, before = (inputs(4, 9, dtype=torch.float32) for _ in range(2))
    loss.call(data.student.requires_grad_(), data).backward()
    loss.twin(data.student, data)
    assert torch.equal(data.student.detach(), before.student)
    assert torch.equal(data.teacher, before.teacher)


def test_a_second_backward_gives_the_same_gradient(loss, backend):
    data = inputs(4, 9, dtype=torch.float32)
    student = data.student.requires_grad_()
    value = loss.call(student, data)
    first, second, third = (torch.autograd.grad(value, student, retain_graph=True)[0].clone() for _ in range(3))
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    value.backward()
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


def test_gradients_accumulated_into_a_leaf_do_not_reach_what_the_graph_keeps(loss, backend):
    data = inputs(4, 9, dtype=torch.float32)
    student = data.student.requires_grad_()
    value = loss.call(student, data)
    value.backward(retain_graph=True)
    once = student.grad.clone()
    value.backward()
    torch.testing.assert_close(student.grad, 2 * once)


def test_the_upstream_gradient_multiplies(loss, backend):
    data = inputs(4, 9, dtype=torch.float32)
    student = data.student.requires_grad_()
    (plain,) = torch.autograd.grad(loss.call(student, data), student)
    (scaled,) = torch.autograd.grad(-2.5 * loss.call(student, data), student)
    torch.testing.assert_close(scaled, -2.5 * plain)


def test_the_loss_may_be_changed_in_place(loss, backend):
    data = inputs(4, 9, dtype=torch.float32)
    value = loss.call(data.student.requires_grad_(), data)
    value /= 2
    value.backward()
    torch.testing.assert_close(data.student.grad, gradient_of(loss, data.student, data) / 2)


def test_float16_gradients_survive_where_only_the_loss_scaler_lifts_them(loss, backend):
    if loss.name in ALSO_ROUNDED:
        pytest.skip("the teacher's probabilities are rounded before the loss sees them")
    data = inputs(4096, 8, dtype=torch.float16)
    student = data.student.requires_grad_()
    (lifted,) = torch.autograd.grad(loss.call(student, data) * 2.0**12, student)
    exact = gradient_of(loss, student.double(), data.to(torch.float64)) * 2.0**12
    error = float((lifted.double() - exact).norm() / exact.norm())
    assert error <= 6e-4


def test_layout_does_not_matter(loss, backend):
    data = inputs(6, 11, dtype=torch.float32)
    expected, gradient = loss.call(data.student, data), gradient_of(loss, data.student, data)
    wide = torch.zeros(6, 22)
    wide[:, ::2] = data.student
    for student in (data.student.t().contiguous().t(), wide[:, ::2]):
        assert not student.is_contiguous()
        leaf = student.detach().requires_grad_()
        value = loss.call(leaf, data)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, leaf)[0], gradient)
        torch.testing.assert_close(loss.twin(student, data)[1], gradient)


@pytest.mark.parametrize("shape", [(0, 5), (0, 3, 5), (2, 0, 5), (3, 0)], ids=str)
def test_an_empty_batch_has_no_loss_and_an_empty_gradient(loss, backend, shape):
    data = inputs(*shape) if shape[-1] else inputs(3, 1)
    if not shape[-1]:
        data = Inputs(data.student[:, :0], data.teacher[:, :0], torch.full((3,), -100))
    student = data.student.requires_grad_()
    value = loss.call(student, data)
    value.backward()
    assert value.item() == 0
    assert student.grad.shape == student.shape
    assert loss.twin(student, data)[1].shape == student.shape


def test_one_class_has_no_loss_and_no_gradient(loss, backend):
    data = inputs(4, 1)
    student = data.student.requires_grad_()
    value = loss.call(student, data)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-15)
    assert student.grad.abs().max() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_row_breaks_its_own_gradient_alone(loss, backend, value):
    data = inputs(5, 7, dtype=torch.float32)
    good = gradient_of(loss, data.student, data)
    for place in ("student", "teacher"):
        broken = Inputs(data.student.clone(), data.teacher.clone(), data.labels)
        getattr(broken, place)[2, 3] = value
        student = broken.student.requires_grad_()
        result = loss.call(student, broken)
        assert math.isnan(result.item())
        (gradient,) = torch.autograd.grad(result, student)
        assert gradient[2].isnan().all(), place
        others = [0, 1, 3, 4]
        torch.testing.assert_close(gradient[others], good[others])


def test_classes_masked_in_both_are_as_if_they_were_not_there(loss, backend):
    data = inputs(4, 6)
    data = Inputs(data.student, data.teacher, data.labels)
    if "standardize" in loss.name:
        pytest.skip("a mean over -inf has no z-scores")
    wide = Inputs(*(torch.full((4, 9), -math.inf, dtype=torch.float64) for _ in range(2)), data.labels)
    wide.student[:, :6], wide.teacher[:, :6] = data.student, data.teacher
    value = loss.call(wide.student, wide)
    assert value.item() == pytest.approx(loss.call(data.student, data).item(), rel=1e-12)
    gradient = gradient_of(loss, wide.student, wide)
    torch.testing.assert_close(gradient[:, :6], gradient_of(loss, data.student, data))
    assert (gradient[:, 6:] == 0).all()


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_extreme_logits_give_the_reference_loss_and_finite_gradients(loss, backend, size):
    if "probs" in loss.name:
        pytest.skip("probabilities of such logits are 0 and 1")
    data = inputs(6, 9)
    data = Inputs(data.student * size / 3, data.teacher * size / 3, data.labels).to(torch.float32)
    assert loss.call(data.student, data).item() == pytest.approx(loss.expected(data), rel=1e-5, abs=1e-5)
    assert gradient_of(loss, data.student, data).isfinite().all()


def test_equal_logits_have_no_divergence_and_no_gradient(loss, backend):
    if loss.name.startswith(("hinton", "topk")):
        pytest.skip("its minimum is elsewhere")
    data = inputs(4, 9, dtype=torch.float32)
    data = Inputs(data.student, data.student.clone(), data.labels)
    assert loss.call(data.student, data).item() == pytest.approx(0, abs=1e-5)
    assert gradient_of(loss, data.student, data).abs().max().item() == pytest.approx(0, abs=3e-6)


def test_the_same_input_gives_the_same_bits(loss, backend):
    data = inputs(64, 100, dtype=torch.float32)
    results = [loss.twin(data.student, data) for _ in range(3)]
    assert all(torch.equal(value, results[0][0]) and torch.equal(g, results[0][1]) for value, g in results)


def test_without_grad_mode_nothing_is_kept(loss, backend):
    data = inputs(4, 9, dtype=torch.float32)
    student = data.student.requires_grad_()
    with torch.no_grad():
        value = loss.call(student, data)
    assert not value.requires_grad
    torch.testing.assert_close(value, loss.call(student, data).detach(), rtol=1e-6, atol=1e-7)


def test_functional_transforms_see_the_loss(loss, backend):
    data = inputs(4, 9, dtype=torch.float32)
    gradient = torch.func.grad(lambda s: loss.call(s, data))(data.student)
    torch.testing.assert_close(gradient, gradient_of(loss, data.student, data), rtol=1e-5, atol=1e-7)
    batch = torch.stack([data.student, data.student + 1])
    values = torch.func.vmap(lambda s: loss.call(s, data))(batch)
    torch.testing.assert_close(values, torch.stack([loss.call(s, data) for s in batch]), rtol=1e-5, atol=1e-6)
    _, tangent = torch.func.jvp(lambda s: loss.call(s, data), (data.student,), (data.teacher,))
    torch.testing.assert_close(tangent, (gradient * data.teacher).sum(), rtol=1e-4, atol=1e-6)


def test_autocast_promotes_logits_of_two_dtypes(loss, backend):
    if loss.name in ALSO_ROUNDED:
        pytest.skip("log_softmax itself returns float32 under autocast")
    data = inputs(4, 9, dtype=torch.bfloat16)
    mixed = Inputs(data.student, data.teacher.float(), data.labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        student = mixed.student.requires_grad_()
        value = loss.call(student, mixed)
    value.backward()
    assert student.grad.dtype == torch.bfloat16
    assert value.item() == pytest.approx(loss.expected(mixed), rel=3e-6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 5), classes=st.integers(2, 40), seed=st.integers(0, 99), offset=st.floats(-50, 50, width=32))
def test_any_shape_agrees_with_the_reference_and_with_shifted_logits(loss, rows, classes, seed, offset):
    data = inputs(rows, classes, seed=seed)
    value = loss.call(data.student, data).item()
    assert value == pytest.approx(loss.expected(data), rel=1e-10, abs=1e-12)
    shifted = loss.call(data.student + offset, data).item()
    assert shifted == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "kl-standardize", "hinton", "js", "dkd", "topk-probs-bucket"])
def test_the_loss_compiles_as_one_graph(name):
    loss = next(one for one in LOSSES if one.name == name)
    data = inputs(6, 9, dtype=torch.float32)
    compiled = torch.compile(loss.call, fullgraph=True, backend="aot_eager")
    student = data.student.clone().requires_grad_()
    value = compiled(student, data)
    value.backward()
    torch.testing.assert_close(value, loss.call(student, data), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(student.grad, gradient_of(loss, data.student, data), rtol=1e-5, atol=1e-7)
    compiled_twin = torch.compile(loss.twin, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled_twin(data.student, data)[1], student.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_loss_is_exported_for_any_number_of_rows():
    class Module(torch.nn.Module):
        def forward(self, student, teacher):
            return LOSSES[0].call(student, Inputs(student, teacher, None))

    first, second = inputs(4, 9, dtype=torch.float32), inputs(7, 9, dtype=torch.float32)
    rows = {0: torch.export.Dim("rows")}
    program = torch.export.export(Module(), (first.student, first.teacher), dynamic_shapes=(rows, rows))
    value = program.module()(second.student, second.teacher)
    torch.testing.assert_close(value, LOSSES[0].call(second.student, second))
