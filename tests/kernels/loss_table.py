"""Every loss with each of its options that changes the formula, called one way, beside its float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import float64_references as references
import torch
from torch import Tensor

from kdbench.kernels import (
    kd_divergence,
    kd_divergence_and_grad,
    kd_dkd,
    kd_dkd_and_grad,
    kd_hinton,
    kd_hinton_and_grad,
    kd_kl,
    kd_kl_and_grad,
    kd_topk,
    kd_topk_and_grad,
)

TEMPERATURE = 3.0


@dataclass(frozen=True)
class Inputs:
    student: Tensor
    teacher: Tensor
    labels: Tensor

    def to(self, dtype: torch.dtype) -> Inputs:
        return Inputs(self.student.to(dtype), self.teacher.to(dtype), self.labels)


def inputs(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(*shape, dtype=torch.float64, generator=generator) * 3 for _ in range(2))
    labels = torch.randint(max(1, shape[-1]), shape[:-1], generator=generator)
    return Inputs(student, teacher, labels).to(dtype)


@dataclass(frozen=True)
class Loss:
    """call: the loss, a scalar; twin: loss and gradient; reference: the float64 loss of one row."""

    name: str
    call: Callable[[Tensor, Inputs], Tensor]
    twin: Callable[[Tensor, Inputs], tuple[Tensor, Tensor]]
    reference: Callable[[Tensor, Tensor, int], float]
    mean: bool = True

    def expected(self, given: Inputs) -> float:
        classes = given.student.shape[-1]
        rows = zip(
            given.student.detach().double().reshape(-1, classes).numpy(),
            given.teacher.double().reshape(-1, classes).numpy(),
            given.labels.reshape(-1).tolist(),
            strict=True,
        )
        values = [self.reference(*row) for row in rows]
        return sum(values) / (len(values) if self.mean else 1)


def _kl(name, reference, **options):
    mean = options.get("reduction", "batchmean") != "sum"

    def call(student, given, function=kd_kl):
        return function(student, _teacher(given, options), TEMPERATURE, **options)

    return Loss(name, call, lambda s, g: call(s, g, kd_kl_and_grad), reference, mean)


def _teacher(given, options):
    match options.get("teacher_is"):
        case "log_probs":
            return torch.log_softmax(given.teacher / TEMPERATURE, -1)
        case "probs":
            return torch.softmax(given.teacher / TEMPERATURE, -1)
    return given.teacher


def _divergence(kind, beta=None):
    def call(student, given, function=kd_divergence):
        return function(student, given.teacher, TEMPERATURE, kind, beta)

    used = beta or {"js": 0.5}.get(kind, 0.1)
    return Loss(
        f"{kind}" + (f"-{beta}" if beta else ""),
        call,
        lambda s, g: call(s, g, kd_divergence_and_grad),
        lambda s, t, _: references.divergence(s, t, TEMPERATURE, kind, used),
    )


def _hinton(name, alpha, standardize=False):
    def call(student, given, function=kd_hinton):
        out = function(student, given.teacher, given.labels, TEMPERATURE, alpha, standardize=standardize)
        return out.loss if function is kd_hinton else (out[0].loss, out[1])

    def reference(student, teacher, label):
        ce = references.cross_entropy(student, label)
        if standardize:
            student, teacher = references.z_scored(student), references.z_scored(teacher)
        return (1 - alpha) * ce + alpha * references.kl(student, teacher, TEMPERATURE)

    return Loss(name, call, lambda s, g: call(s, g, kd_hinton_and_grad), reference)


def _dkd(name, alpha, beta):
    def call(student, given, function=kd_dkd):
        out = function(student, given.teacher, given.labels, TEMPERATURE, alpha, beta)
        return out.loss if function is kd_dkd else (out[0].loss, out[1])

    def reference(student, teacher, label):
        target, non_target = references.dkd(student, teacher, label, TEMPERATURE)
        return alpha * target + beta * non_target

    return Loss(name, call, lambda s, g: call(s, g, kd_dkd_and_grad), reference)


def _topk(name, values_are, tail, k=3):
    def listed(teacher):
        known = teacher if values_are == "logits" else torch.log_softmax(teacher / TEMPERATURE, -1)
        values, indices = known.topk(min(k, teacher.shape[-1]), -1)
        return (values.exp() if values_are == "probs" else values), indices

    def call(student, given, function=kd_topk):
        return function(student, *listed(given.teacher), TEMPERATURE, values_are=values_are, tail=tail)

    def reference(student, teacher, _):
        values, indices = (a.numpy() for a in listed(torch.from_numpy(teacher)))
        return references.topk(student, values, indices, TEMPERATURE, values_are, tail)

    return Loss(name, call, lambda s, g: call(s, g, kd_topk_and_grad), reference)


def _plain_kl(student, teacher, _):
    return references.kl(student, teacher, TEMPERATURE)


LOSSES = (
    _kl("kl", _plain_kl),
    _kl("kl-sum", _plain_kl, reduction="sum"),
    _kl("kl-log_probs", _plain_kl, teacher_is="log_probs"),
    _kl("kl-probs", _plain_kl, teacher_is="probs"),
    _kl("kl-unscaled", lambda s, t, _: references.kl(s, t, TEMPERATURE) / TEMPERATURE**2, scale=False),
    _kl(
        "kl-standardize",
        lambda s, t, _: references.kl(references.z_scored(s), references.z_scored(t), TEMPERATURE),
        standardize=True,
    ),
    _hinton("hinton", 0.7),
    _hinton("hinton-standardize", 0.7, standardize=True),
    *(_divergence(kind) for kind in ("forward_kl", "reverse_kl", "js", "skew_kl", "skew_reverse_kl", "tvd")),
    *(_divergence(kind, 0.3) for kind in ("js", "skew_kl", "skew_reverse_kl")),
    _dkd("dkd", 1.0, 8.0),
    _dkd("dkd-weights", 0.3, 2.0),
    _topk("topk", "logits", "renormalize"),
    _topk("topk-log_probs", "log_probs", "renormalize"),
    _topk("topk-probs", "probs", "renormalize"),
    _topk("topk-log_probs-bucket", "log_probs", "bucket"),
    _topk("topk-probs-bucket", "probs", "bucket"),
)
