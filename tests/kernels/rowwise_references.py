"""What each operator of csrc/registration.cpp must return, in float64, row by row, by torch's autograd.

Written from the definitions of the losses, not from the kernels: slow, and plain enough to be read against the papers.
Integers of the schemas are those of the enumerations in csrc/problem.h.

Where the definitions leave room, the rules are: a row that holds NaN or +inf, is all -inf, or has a label (or a listed
class) out of range is NaN in every term and in its whole gradient; with `standardize`, -inf counts as such too, since a
mean of -inf has no deviation. A row whose factors are all 0 is 0 whatever it holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LOGITS, LOG_PROBS, PROBS = 0, 1, 2
FORWARD_KL, REVERSE_KL, JS, SKEW_KL, SKEW_REVERSE_KL, TVD = range(6)
RENORMALIZE, BUCKET = 0, 1

Arguments = Mapping[str, Any]
Terms = tuple[Tensor, ...]


def reference(operator: str, arguments: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (N, terms), totals and the gradient of totals[0] by the student (N, V), all float64.

    `operator` is a name of the schema, with or without the in-place underscore; `arguments` its arguments by name.
    """
    terms_of, weights = _OPERATORS[operator.rstrip("_")]
    weight = weights(arguments)
    student = arguments["student"].double()
    rows = torch.zeros(len(student), len(weight), dtype=torch.float64)
    grad = torch.zeros_like(student)
    for row, logits in enumerate(student):
        leaf = logits.clone().requires_grad_()
        terms = terms_of(leaf, row, arguments) if len(logits) else None
        if terms is None:
            continue
        rows[row] = torch.stack(terms).detach()
        objective = sum(w * term for w, term in zip(weight, terms, strict=True) if w != 0)
        if torch.isnan(rows[row]).any():
            rows[row] = grad[row] = math.nan
        elif isinstance(objective, Tensor) and objective.requires_grad:
            (grad[row],) = torch.autograd.grad(objective, leaf)
    sums = rows.sum(0)
    totals = (
        sums if len(weight) == 1 else torch.cat([(sums * torch.tensor(weight, dtype=torch.float64)).sum()[None], sums])
    )
    return rows, totals, grad


def _kl(student: Tensor, row: int, arguments: Arguments) -> Terms | None:
    factor = _factor(arguments, row)
    if factor == 0:
        return None
    teacher, kind = arguments["teacher"][row].double(), arguments["teacher_is"]
    standardize = arguments["standardize"]
    if _bad(student, standardize) or (_bad(teacher, standardize) if kind == LOGITS else _not_numbers(teacher)):
        return _nan(1)
    return (factor * _kd(student, teacher, _temperature(arguments, row), kind, standardize),)


def _hinton(student: Tensor, row: int, arguments: Arguments) -> Terms | None:
    label = int(arguments["labels"][row])
    factor, ce_factor = _factor(arguments, row), _factor(arguments, row, "ce_")
    if label == arguments["ignore_index"] or factor == ce_factor == 0:
        return None
    teacher, standardize = arguments["teacher"][row].double(), arguments["standardize"]
    if _bad(student, standardize) or _bad(teacher, standardize) or not 0 <= label < len(student):
        return _nan(2)
    weight = arguments["class_weight"]
    weight = torch.ones_like(student) if weight is None else weight.double()
    smoothing = arguments["label_smoothing"]
    costs = -functional.log_softmax(student, -1)
    counted = weight != 0
    ce = (1 - smoothing) * weight[label] * costs[label] if weight[label] else costs[label].detach() * 0
    if smoothing:
        ce = ce + smoothing / len(student) * (weight[counted] * costs[counted]).sum()
    kd = _kd(student, teacher, _temperature(arguments, row), LOGITS, standardize)
    zero = torch.zeros((), dtype=torch.float64)
    return (ce_factor * ce if ce_factor else zero), (factor * kd if factor else zero)


def _divergence(student: Tensor, row: int, arguments: Arguments) -> Terms | None:
    factor = _factor(arguments, row)
    if factor == 0:
        return None
    teacher = arguments["teacher"][row].double()
    if _bad(student) or _bad(teacher):
        return _nan(1)
    temperature, beta = _temperature(arguments, row), arguments["beta"]
    log_q = functional.log_softmax(student / temperature, -1)
    log_p = functional.log_softmax(teacher / temperature, -1)
    present = (log_q > -math.inf) | (log_p > -math.inf)
    log_q, log_p = log_q[present], log_p[present]
    match arguments["kind"]:
        case 0:
            value = _relative_entropy(log_p, log_q)
        case 1:
            value = _relative_entropy(log_q, log_p)
        case 2:
            middle = _mixture(log_p, log_q, beta)
            value = beta * _relative_entropy(log_p, middle) + (1 - beta) * _relative_entropy(log_q, middle)
        case 3:
            value = _relative_entropy(log_p, _mixture(log_p, log_q, beta))
        case 4:
            value = _relative_entropy(log_q, _mixture(log_q, log_p, beta))
        case 5:
            value = (log_p.exp() - log_q.exp()).abs().sum() / 2
        case kind:
            raise ValueError(f"kind {kind}")
    return (factor * value,)


def _dkd(student: Tensor, row: int, arguments: Arguments) -> Terms | None:
    label, factor = int(arguments["labels"][row]), _factor(arguments, row)
    if label == arguments["ignore_index"] or factor == 0:
        return None
    teacher = arguments["teacher"][row].double()
    if _bad(student) or _bad(teacher) or not 0 <= label < len(student):
        return _nan(2)
    temperature = _temperature(arguments, row)
    student, teacher = student / temperature, teacher / temperature
    others = (student > -math.inf) | (teacher > -math.inf)
    others[label] = False
    if not others.any():
        return student.detach()[label] * 0, student.detach()[label] * 0
    odds_q = student[label] - student[others].logsumexp(0)
    odds_p = teacher[label] - teacher[others].logsumexp(0)
    target = torch.zeros((), dtype=torch.float64)
    for sign in (1, -1):
        probability = torch.sigmoid(sign * odds_p)
        if probability > 0:
            target = target + probability * (
                functional.logsigmoid(sign * odds_p) - functional.logsigmoid(sign * odds_q)
            )
    non_target = _relative_entropy(
        functional.log_softmax(teacher[others], -1), functional.log_softmax(student[others], -1)
    )
    return factor * target, factor * non_target


def _topk(student: Tensor, row: int, arguments: Arguments) -> Terms | None:
    factor = _factor(arguments, row)
    indices = arguments["teacher_indices"][row]
    listed = indices != -1
    if factor == 0 or not listed.any():
        return None
    indices, values = indices[listed], arguments["teacher_values"][row].double()[listed]
    kind, temperature = arguments["values_are"], _temperature(arguments, row)
    if _bad(student) or not ((indices >= 0) & (indices < len(student))).all():
        return _nan(1)
    if _bad(values) if kind == LOGITS else _not_numbers(values):
        return _nan(1)
    log_q = functional.log_softmax(student / temperature, -1)
    log_p = {LOGITS: lambda: values / temperature, LOG_PROBS: lambda: values, PROBS: values.log}[kind]()
    if arguments["tail"] == RENORMALIZE:
        return (factor * _relative_entropy(functional.log_softmax(log_p, -1), log_q[indices]),)
    value = _relative_entropy(log_p, log_q[indices])
    rest = 1 - log_p.exp().sum()
    others = torch.ones(len(student), dtype=torch.bool)
    others[indices] = False
    if rest > 0 and others.any():
        value = value + rest * (rest.log() - log_q[others].logsumexp(0))
    return (factor * value,)


def _kd(student: Tensor, teacher: Tensor, temperature: float, kind: int, standardize: bool) -> Tensor:
    """KL(p ‖ softmax(student / T)), where the teacher is logits, log-probabilities or probabilities."""
    if standardize:
        student = _z_scores(student)
        teacher = _z_scores(teacher) if kind == LOGITS else teacher
    log_q = functional.log_softmax(student / temperature, -1)
    if kind == PROBS:
        return _relative_entropy(teacher.log(), log_q)
    return _relative_entropy(functional.log_softmax(teacher / temperature, -1) if kind == LOGITS else teacher, log_q)


def _relative_entropy(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Σ p (log p − log q); a term with p = 0 is 0."""
    possible = log_p > -math.inf
    return (log_p[possible].exp() * (log_p[possible] - log_q[possible])).sum()


def _mixture(log_first: Tensor, log_second: Tensor, beta: float) -> Tensor:
    """log(β first + (1 − β) second), where not both are 0."""
    return torch.logaddexp(log_first + math.log(beta), log_second + math.log1p(-beta))


def _z_scores(row: Tensor) -> Tensor:
    centred = row - row.mean()
    deviation = centred.square().mean()
    # The derivative of sqrt at 0 is infinite; a constant row has no deviation to go through.
    deviation = deviation.sqrt() if row.detach().max() > row.detach().min() else torch.zeros_like(deviation)
    return centred / (deviation + 1e-7)


def _factor(arguments: Arguments, row: int, prefix: str = "") -> float:
    rows = arguments[f"{prefix}row_scale"]
    return arguments[f"{prefix}scale"] * (1.0 if rows is None else float(rows[row]))


def _temperature(arguments: Arguments, row: int) -> float:
    rows = arguments["row_temperature"]
    return arguments["temperature"] if rows is None else float(rows[row])


def _not_numbers(row: Tensor) -> bool:
    return bool((row.isnan() | (row == math.inf)).any())


def _bad(row: Tensor, finite: bool = False) -> bool:
    row = row.detach()
    return _not_numbers(row) or bool((row == -math.inf).all()) or (finite and bool((row == -math.inf).any()))


def _nan(terms: int) -> Terms:
    return (torch.tensor(math.nan, dtype=torch.float64),) * terms


Row = Callable[[Tensor, int, Arguments], Terms | None]
_OPERATORS: dict[str, tuple[Row, Callable[[Arguments], list[float]]]] = {
    "kl": (_kl, lambda _: [1.0]),
    "hinton": (_hinton, lambda a: [1 - a["alpha"], a["alpha"]]),
    "divergence": (_divergence, lambda _: [1.0]),
    "dkd": (_dkd, lambda a: [a["alpha"], a["beta"]]),
    "topk": (_topk, lambda _: [1.0]),
}
