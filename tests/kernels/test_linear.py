from __future__ import annotations

import pytest
import torch

from kdbench.errors import InvalidParameter, ModelMismatch
from kdbench.kernels import kd_hinton, kd_kl, linear_kd_kl, linear_kd_kl_and_grad

HEADS = {torch.float64: 1e-12, torch.float32: 3e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def heads(*lead, classes=23, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((*lead, 5), (classes, 5), (*lead, 6), (classes, 6))
    tensors = [torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return [tensors[0].requires_grad_(), tensors[1].requires_grad_(), *tensors[2:]]


def labels_of(*lead, classes=23):
    labels = torch.randint(classes, lead, generator=torch.Generator().manual_seed(1))
    labels.view(-1)[::4] = -100
    return labels


def whole(tensors, temperature, labels=None):
    hidden, weight, teacher_hidden, teacher_weight = tensors
    student, teacher = hidden @ weight.t(), teacher_hidden @ teacher_weight.t()
    return (
        kd_kl(student, teacher, temperature)
        if labels is None
        else kd_hinton(student, teacher, labels, temperature).loss
    )


@pytest.mark.parametrize("chunk_rows", [1, 3, 7, 100, None])
@pytest.mark.parametrize("labelled", [False, True])
def test_chunks_add_up_to_the_loss_of_whole_logits(backend, chunk_rows, labelled):
    tensors = heads(7)
    labels = labels_of(7) if labelled else None
    expected = whole(tensors, 2.0, labels)
    loss = linear_kd_kl(*tensors, 2.0, labels=labels, chunk_rows=chunk_rows)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(2 * loss, tensors[:2])
    torch.testing.assert_close(gradients, torch.autograd.grad(2 * expected, tensors[:2]))
    value, by_hidden, by_weight = linear_kd_kl_and_grad(*tensors, 2.0, labels=labels, chunk_rows=chunk_rows)
    torch.testing.assert_close((2 * by_hidden, 2 * by_weight), gradients)
    torch.testing.assert_close(value, expected.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("labelled", [False, True])
def test_narrow_gradients_are_near_those_of_float64(backend, dtype, labelled):
    tensors = heads(64, dtype=dtype)
    labels = labels_of(64) if labelled else None
    exact = [t.detach().double() for t in tensors]
    exact[0].requires_grad_()
    exact[1].requires_grad_()
    expected = torch.autograd.grad(whole(exact, 2.0, labels), exact[:2])
    got = torch.autograd.grad(linear_kd_kl(*tensors, 2.0, labels=labels, chunk_rows=10), tensors[:2])
    for value, wanted in zip(got, expected, strict=True):
        assert value.dtype == dtype
        assert float((value.double() - wanted).norm() / wanted.norm()) <= HEADS[dtype]


def test_float16_gradients_survive_where_only_the_loss_scaler_lifts_them(backend):
    tensors = heads(4096, classes=40, dtype=torch.float16)
    got = torch.autograd.grad(linear_kd_kl(*tensors, chunk_rows=512) * 2.0**12, tensors[:1])[0]
    exact = [t.detach().double() for t in tensors]
    wanted = torch.autograd.grad(whole([exact[0].requires_grad_(), *exact[1:]], 1.0) * 2.0**12, exact[:1])[0]
    assert float((got.double() - wanted).norm() / wanted.norm()) <= 3e-3


def test_leading_dimensions_and_row_temperatures(backend):
    tensors = heads(2, 3)
    temperature = torch.rand(2, 3) + 1
    loss = linear_kd_kl(*tensors, temperature, chunk_rows=4)
    torch.testing.assert_close(loss, whole(tensors, temperature))
    assert torch.autograd.grad(loss, tensors[0])[0].shape == (2, 3, 5)


def test_derivatives_are_those_of_finite_differences_twice(backend):
    hidden, weight, *teacher = heads(3, classes=4)

    def loss(h, w):
        return linear_kd_kl(h, w, *teacher, 2.0, chunk_rows=2)

    assert torch.autograd.gradcheck(loss, (hidden, weight))
    assert torch.autograd.gradgradcheck(loss, (hidden, weight))


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_side_gets_no_gradient(backend, frozen):
    tensors = heads(5)
    tensors[frozen].requires_grad_(False)
    linear_kd_kl(*tensors, chunk_rows=2).backward()
    assert tensors[frozen].grad is None
    assert tensors[1 - frozen].grad is not None


def test_the_teacher_is_a_constant_also_where_it_requires_grad(backend):
    tensors = heads(5)
    tensors[3].requires_grad_()
    linear_kd_kl(*tensors, chunk_rows=2).backward()
    assert tensors[3].grad is None


def test_a_second_backward_gives_the_same_gradient(backend):
    tensors = heads(5, dtype=torch.float32)
    loss = linear_kd_kl(*tensors, chunk_rows=2)
    first, second = (torch.autograd.grad(3 * loss, tensors[:2], retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_no_rows_have_no_loss(backend):
    tensors = heads(0)
    loss = linear_kd_kl(*tensors)
    loss.backward()
    assert loss.item() == 0
    assert (tensors[1].grad == 0).all()


def test_autocast_multiplies_in_its_dtype(backend):
    tensors = heads(8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_kd_kl(*tensors, 2.0)
    loss.backward()
    assert tensors[1].grad.dtype == torch.float32
    rounded = [t.detach().bfloat16() for t in tensors]
    torch.testing.assert_close(loss, linear_kd_kl(*rounded, 2.0))


def test_no_tensor_of_the_size_of_the_logits_is_made():
    rows, classes = 256, 4000
    tensors = heads(rows, classes=classes, dtype=torch.float32)
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        linear_kd_kl(*tensors, 2.0, chunk_rows=16).backward()
    allocated = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert max(allocated) > 0
    assert max(allocated) < rows * classes * 4 / 8


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [False, True])
def test_it_compiles_as_one_graph(labelled):
    tensors = heads(7, dtype=torch.float32)
    labels = labels_of(7) if labelled else None

    def loss(*heads):
        return linear_kd_kl(*heads, 2.0, labels=labels, chunk_rows=3)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(compiled(*tensors), tensors[:2])
    torch.testing.assert_close(got, torch.autograd.grad(loss(*tensors), tensors[:2]))
    transformed = torch.func.grad(loss, (0, 1))(*(t.detach() for t in tensors))
    torch.testing.assert_close(transformed, got, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.__setitem__(1, t[1][:, :4]), ModelMismatch, "student_weight does not fit student_hidden"),
        (
            lambda t: t.__setitem__(3, t[3][:9]),
            ModelMismatch,
            "student_weight and teacher_weight differ in their number of classes",
        ),
        (lambda t: t.__setitem__(2, t[2][:3]), ModelMismatch, "teacher_hidden has shape"),
        (
            lambda t: t.__setitem__(3, t[3].float()),
            InvalidParameter,
            "student_hidden is float64 and teacher_weight is float32",
        ),
        (lambda t: t.__setitem__(0, t[0].long()), InvalidParameter, "student_hidden is int64"),
    ],
    ids=["width", "classes", "rows", "dtype", "integer"],
)
def test_heads_that_do_not_fit_are_named(change, error, message):
    tensors = heads(5)
    change(tensors)
    with pytest.raises(error, match=f"linear_kd_kl: {message}"):
        linear_kd_kl(*tensors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_rows": 0}, "chunk_rows 0"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"temperature": torch.ones(5, requires_grad=True)}, "temperature requires grad"),
        ({"alpha": 2.0}, "alpha 2.0"),
        ({"labels": torch.full((5,), 23)}, "labels holds class 23"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InvalidParameter, match=f"linear_kd_kl: {message}"):
        linear_kd_kl(*heads(5), **options)
