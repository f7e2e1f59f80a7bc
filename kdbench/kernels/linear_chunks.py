"""The chunks of `linear_kd_kl`: logits, their gradient in place, and its products, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import frexp
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kdbench.kernels.autograd import loss_and_grad, losses
from kdbench.kernels.hinton import HINTON, HintonArguments, hinton_arguments
from kdbench.kernels.kl import KL, KlArguments
from kdbench.kernels.options import TEACHER_IS, accumulation
from kdbench.kernels.rows import factors
from kdbench.kernels.tracing import traced

# Bytes of logits, student's and teacher's together, that a chunk holds by default; and the rows that it has at least,
# since the gradient of the weight is read and written once a chunk.
CHUNK_BYTES = {"cpu": 8 << 20}
CHUNK_BYTES_ELSEWHERE = 256 << 20
LEAST_ROWS = 32

BY_ROW = ("labels", "row_temperature", "row_scale", "ce_row_scale")


class Heads(NamedTuple):
    """A call of `linear_kd_kl` over N rows, checked: hidden states (N, D) and (N, E), weights (V, D) and (V, E)."""

    hidden: Tensor
    weight: Tensor
    teacher_hidden: Tensor
    teacher_weight: Tensor
    temperature: float | Tensor
    labels: Tensor | None
    alpha: float
    ignore_index: int
    all_count: bool
    chunk_rows: int


class Gradients(NamedTuple):
    """Loss, and gradients that are to be divided by `lifted`: by the hidden states and the weight, where asked for."""

    loss: Tensor
    hidden: Tensor | None
    weight: Tensor | None
    lifted: float


def chunk_size(logits: Tensor) -> int:
    """The default number of rows of a chunk for logits (..., V)."""
    budget = CHUNK_BYTES.get(logits.device.type, CHUNK_BYTES_ELSEWHERE)
    return max(LEAST_ROWS, budget // max(1, 2 * logits.shape[-1] * logits.element_size()))


def linear_loss(heads: Heads) -> Tensor:
    """The loss, differentiable in the student's hidden states and weight."""
    if torch.compiler.is_compiling():
        loss: Tensor = _compiled(heads)[0]
        return loss
    if traced():
        return _whole(heads.hidden, heads.weight, heads)
    if torch.is_grad_enabled() and (heads.hidden.requires_grad or heads.weight.requires_grad):
        return _apply(heads.hidden, heads.weight, heads)
    return in_chunks(heads, hidden=False, weight=False).loss


def linear_loss_and_grad(heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and its gradients by the student's hidden states and weight."""
    with torch.no_grad():
        if torch.compiler.is_compiling():
            return _compiled(heads)
        loss, hidden, weight, lifted = in_chunks(heads, hidden=True, weight=True)
        assert hidden is not None
        assert weight is not None
        return loss, _divided(hidden, lifted), _divided(weight, lifted)


def in_chunks(heads: Heads, *, hidden: bool, weight: bool) -> Gradients:
    """Loss and, where asked for, gradients of the hidden states and of the weight, in the accumulation dtype."""
    with torch.no_grad(), torch.autocast(heads.hidden.device.type, enabled=False):
        rows, classes = heads.hidden.shape[0], heads.weight.shape[0]
        acc = accumulation(heads.hidden.dtype)
        lifted = _lift(heads)
        arguments = _arguments(heads, lifted)
        loss = torch.zeros((), dtype=acc, device=heads.hidden.device)
        grad_hidden = torch.zeros_like(heads.hidden, dtype=acc) if hidden else None
        grad_weight = torch.zeros_like(heads.weight, dtype=acc) if weight else None
        size = min(heads.chunk_rows, rows)
        student_buffer, teacher_buffer = (heads.hidden.new_empty(size, classes) for _ in range(2))
        for start in range(0, rows, max(1, size)):
            chunk = slice(start, min(start + size, rows))
            height = chunk.stop - start
            student = torch.mm(heads.hidden[chunk], heads.weight.t(), out=student_buffer[:height])
            teacher = torch.mm(heads.teacher_hidden[chunk], heads.teacher_weight.t(), out=teacher_buffer[:height])
            piece = _of_chunk(arguments, chunk, teacher)
            if not (hidden or weight):
                loss += _loss(student, piece)
                continue
            chunk_loss, grad = _loss_and_grad(student, piece)
            loss += chunk_loss
            if grad_hidden is not None:
                grad_hidden[chunk] = grad @ heads.weight
            if grad_weight is not None:
                _add_product(grad_weight, grad, heads.hidden[chunk])
        return Gradients(loss / lifted if lifted != 1 else loss, grad_hidden, grad_weight, lifted)


def _lift(heads: Heads) -> float:
    """What losses are multiplied by meanwhile: a mean over rows would push float16 gradients below their range."""
    return 2.0 ** frexp(heads.hidden.shape[0])[1] if heads.hidden.dtype is torch.float16 else 1.0


def _arguments(heads: Heads, lifted: float) -> KlArguments | HintonArguments:
    """The operator's arguments for all rows; the teacher's logits are put in chunk by chunk."""
    logits = heads.hidden.detach().new_empty(()).expand(heads.hidden.shape[0], heads.weight.shape[0])
    if heads.labels is None:
        scales = factors(logits, heads.temperature, reduction="batchmean", scale=True)
        kl = KlArguments(logits, *scales, TEACHER_IS["logits"], False)
        return kl._replace(scale=kl.scale * lifted)
    hinton = hinton_arguments(
        logits,
        logits,
        heads.labels,
        heads.temperature,
        heads.alpha,
        ignore_index=heads.ignore_index,
        all_count=heads.all_count,
    )
    return hinton._replace(scale=hinton.scale * lifted, ce_scale=hinton.ce_scale * lifted)


def _of_chunk(arguments: KlArguments | HintonArguments, chunk: slice, teacher: Tensor) -> KlArguments | HintonArguments:
    by_row = {name: getattr(arguments, name, None) for name in BY_ROW}
    return arguments._replace(
        teacher=teacher, **{name: value[chunk].contiguous() for name, value in by_row.items() if value is not None}
    )


def _loss(student: Tensor, arguments: KlArguments | HintonArguments) -> Tensor:
    if isinstance(arguments, KlArguments):
        return losses(KL, student, arguments).loss
    return losses(HINTON, student, arguments).loss


def _loss_and_grad(student: Tensor, arguments: KlArguments | HintonArguments) -> tuple[Tensor, Tensor]:
    """Loss and gradient of a chunk; the gradient is the logits' memory."""
    if isinstance(arguments, KlArguments):
        fused = loss_and_grad(KL, student, arguments, in_place=True)
    else:
        fused = loss_and_grad(HINTON, student, arguments, in_place=True)
    return fused.totals[0], fused.grad


def _add_product(total: Tensor, grad: Tensor, hidden: Tensor) -> None:
    """Add gradᵀ · hidden to the weight's gradient, in its dtype."""
    if grad.dtype is total.dtype:
        total.addmm_(grad.t(), hidden)
    elif grad.device.type == "cuda":
        total.add_(torch.mm(grad.t(), hidden, out_dtype=total.dtype))
    else:
        total.addmm_(grad.t().to(total.dtype), hidden.to(total.dtype))


def _divided(gradient: Tensor, lifted: float) -> Tensor:
    return gradient if lifted == 1 else gradient.div_(lifted)


def _whole(hidden: Tensor, weight: Tensor, heads: Heads) -> Tensor:
    """The loss from whole logits, differentiable any number of times."""
    arguments = _arguments(heads, 1.0)
    arguments = arguments._replace(teacher=heads.teacher_hidden @ heads.teacher_weight.t())
    logits = hidden @ weight.t()
    if isinstance(arguments, KlArguments):
        return KL.losses(logits, arguments)[1][0]
    return HINTON.losses(logits, arguments)[1][0]


class _LinearLoss(torch.autograd.Function):
    """The loss, whose gradients are computed in the forward and handed over by the first backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, heads: Heads) -> Tensor:
        needs_hidden, needs_weight, _ = ctx.needs_input_grad
        gradients = in_chunks(heads, hidden=needs_hidden, weight=needs_weight)
        ctx.save_for_backward(hidden, weight, heads.teacher_hidden, heads.teacher_weight)
        # Without the tensors that autograd saves, so that it frees them and notices their change.
        none: Any = None
        ctx.heads = heads._replace(hidden=none, weight=none, teacher_hidden=none, teacher_weight=none)
        ctx.gradients = gradients
        return gradients.loss.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, teacher_hidden, teacher_weight = ctx.saved_tensors
        needs_hidden, needs_weight, _ = ctx.needs_input_grad
        heads = Heads(hidden, weight, teacher_hidden, teacher_weight, *ctx.heads[4:])
        if torch.is_grad_enabled():
            wanted = [value for value, needed in ((hidden, needs_hidden), (weight, needs_weight)) if needed]
            grads = iter(torch.autograd.grad(_whole(hidden, weight, heads), wanted, upstream, create_graph=True))
            return next(grads) if needs_hidden else None, next(grads) if needs_weight else None, None
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            gradients = in_chunks(heads, hidden=needs_hidden, weight=needs_weight)
        _, by_hidden, by_weight, lifted = gradients
        del gradients
        factor = upstream / lifted if lifted != 1 else upstream
        return _times(by_hidden, factor, hidden.dtype), _times(by_weight, factor, weight.dtype), None


_apply: Callable[..., Tensor] = _LinearLoss.apply


def _times(gradient: Tensor | None, factor: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The gradient, in its own memory, times a factor that is often 1, then in the dtype of what it belongs to."""
    if gradient is None:
        return None
    if factor.device.type != "cpu" or factor != 1:
        gradient.mul_(factor)
    return gradient.to(dtype)


@torch.library.custom_op("kdbench::linear_kd", mutates_args=())
def _operator(
    hidden: Tensor,
    weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    temperature: float,
    row_temperature: Tensor | None,
    labels: Tensor | None,
    alpha: float,
    ignore_index: int,
    chunk_rows: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """What torch.compile and torch.export see of the loss: one operation that returns the gradients too."""
    chosen = temperature if row_temperature is None else row_temperature
    tensors = (hidden, weight, teacher_hidden, teacher_weight)
    heads = Heads(*tensors, chosen, labels, alpha, ignore_index, False, chunk_rows)
    return linear_loss_and_grad(heads)


@_operator.register_fake
def _fake_operator(hidden: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    acc = accumulation(hidden.dtype)
    return hidden.new_empty((), dtype=acc), torch.empty_like(hidden, dtype=acc), torch.empty_like(weight, dtype=acc)


def _keep_gradients(ctx: Any, inputs: tuple[object, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output[1:])
    ctx.dtype = output[0].dtype if not isinstance(inputs[0], Tensor) else inputs[0].dtype
    ctx.mark_non_differentiable(*output[1:])


def _operator_backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    hidden, weight = ((gradient * upstream).to(ctx.dtype) for gradient in ctx.saved_tensors)
    return hidden, weight, *(None,) * 8


_operator.register_autograd(_operator_backward, setup_context=_keep_gradients)


def _compiled(heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    per_row = heads.temperature if isinstance(heads.temperature, Tensor) else None
    number = 1.0 if isinstance(heads.temperature, Tensor) else float(heads.temperature)
    result: tuple[Tensor, Tensor, Tensor] = _operator(
        heads.hidden,
        heads.weight,
        heads.teacher_hidden,
        heads.teacher_weight,
        number,
        per_row,
        heads.labels,
        heads.alpha,
        heads.ignore_index,
        heads.chunk_rows,
    )
    return result
