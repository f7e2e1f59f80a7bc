"""The papers' formulas for logit methods, in plain Python over lists: one function a method, named as registered.

Each takes the method (for its hyper-parameters), both models' logits as lists of rows, the labels and the epoch, and
returns the loss terms by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from row_formulas import cross_entropy, kl, mean, mean_cross_entropy, soft_targets, softmax

Rows = list[list[float]]
Terms = dict[str, float]
Reference = Callable[[Any, Rows, Rows, list[int], int], Terms]


def deviation(row: list[float]) -> float:
    return math.sqrt(mean([(value - mean(row)) ** 2 for value in row]))


def without(row: list[float], label: int) -> list[float]:
    return [value for number, value in enumerate(row) if number != label]


def decoupled(student: Rows, teacher: Rows, labels: list[int], t: float, alpha: float, beta: float) -> float:
    losses = []
    for a, b, label in zip(student, teacher, labels, strict=True):
        p, q = softmax(b, t), softmax(a, t)
        target = kl([p[label], sum(without(p, label))], [q[label], sum(without(q, label))])
        losses.append(alpha * target + beta * kl(softmax(without(b, label), t), softmax(without(a, label), t)))
    return t * t * mean(losses)


def pearson(x: list[float], y: list[float]) -> float:
    covariance = sum((a - mean(x)) * (b - mean(y)) for a, b in zip(x, y, strict=True))
    return covariance / math.sqrt(sum((a - mean(x)) ** 2 for a in x) * sum((b - mean(y)) ** 2 for b in y))


def columns(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def gram(rows: Rows) -> Rows:
    return [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]


def squared_distance(one: Rows, other: Rows) -> float:
    return sum((a - b) ** 2 for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def z_scores(row: list[float]) -> list[float]:
    return [(value - mean(row)) / (deviation(row) + 1e-7) for value in row]


def kd_tuned(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    kd = m.weight * soft_targets(student, teacher, m.temperature)
    return {"ce": m.ce * mean_cross_entropy(student, labels), "kd": kd}


def dkd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    rise = min(epoch + 1, m.warmup) / m.warmup if m.warmup else 1
    kd = decoupled(student, teacher, labels, m.temperature, m.alpha, m.beta)
    return {"ce": m.ce * mean_cross_entropy(student, labels), "dkd": rise * kd}


def dist(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    ours, theirs = ([softmax(row, m.temperature) for row in rows] for rows in (student, teacher))
    inter = mean([1 - pearson(a, b) for a, b in zip(ours, theirs, strict=True)])
    pairs = zip(columns(ours), columns(theirs), strict=True)
    intra = mean([1 - pearson(a, b) for a, b in pairs]) if len(labels) > 1 else 0.0
    scale = m.temperature**2
    ce = m.ce * mean_cross_entropy(student, labels)
    return {"ce": ce, "inter": m.beta * scale * inter, "intra": m.gamma * scale * intra}


def lskd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    ours, theirs = ([z_scores(row) for row in rows] for rows in (student, teacher))
    if m.base == "kd":
        kd = soft_targets(ours, theirs, m.temperature)
    else:
        kd = decoupled(ours, theirs, labels, m.temperature, m.alpha, m.beta)
    return {"ce": m.ce * mean_cross_entropy(student, labels), m.base: m.weight * kd}


def mlkd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    found = {"ce": m.ce * mean_cross_entropy(student, labels), "instance": 0.0, "batch": 0.0, "class": 0.0}
    for t in m.temperatures:
        q, p = ([softmax(row, t) for row in rows] for rows in (student, teacher))
        found["instance"] += m.kd_weight * soft_targets(student, teacher, t)
        found["batch"] += m.batch_weight * squared_distance(gram(p), gram(q)) / len(p)
        found["class"] += m.class_weight * squared_distance(gram(columns(p)), gram(columns(q))) / len(p[0])
    return found


def ctkd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    temperature = m.lowest + m.span / (1 + math.exp(-float(m.module.theta.detach())))
    kd = m.alpha * soft_targets(student, teacher, temperature)
    return {"ce": (1 - m.alpha) * mean_cross_entropy(student, labels), "kd": kd}


def tf_kd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    losses = []
    for row, label in zip(student, labels, strict=True):
        others = (1 - m.accuracy) / (len(row) - 1)
        powers = [(m.accuracy if number == label else others) ** (1 / m.temperature) for number in range(len(row))]
        losses.append(kl([power / sum(powers) for power in powers], softmax(row, m.temperature)))
    kd = m.alpha * m.temperature**2 * mean(losses)
    return {"ce": (1 - m.alpha) * mean_cross_entropy(student, labels), "kd": kd}


def wsld_shares(student: Rows, teacher: Rows, labels: list[int]) -> list[float]:
    triples = zip(student, teacher, labels, strict=True)
    return [1 - math.exp(-cross_entropy(a, label) / cross_entropy(b, label)) for a, b, label in triples]


def wsld(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    """The paper's weighted cross-entropy, less what it would be for a student that equals the teacher."""
    t, losses = m.temperature, []
    for a, b, share in zip(student, teacher, wsld_shares(student, teacher, labels), strict=True):
        p, q = softmax(b, t), softmax(a, t)
        ours = -sum(x * math.log(y) for x, y in zip(p, q, strict=True))
        least = -sum(x * math.log(x) for x in p)
        losses.append(share * t * t * (ours - least))
    return {"ce": mean_cross_entropy(student, labels), "kd": m.weight * mean(losses)}


def nkd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    """The paper's three terms; the last less what it would be for a student that equals the teacher."""
    target, others = [], []
    for a, b, label in zip(student, teacher, labels, strict=True):
        target.append(-softmax(b)[label] * math.log(softmax(a)[label]))
        t, s = (without(softmax(row, m.temperature), label) for row in (b, a))
        t, s = ([value / sum(row) for value in row] for row in (t, s))
        others.append(-sum(x * (math.log(y) - math.log(x)) for x, y in zip(t, s, strict=True)))
    last = m.gamma * m.temperature**2 * mean(others)
    return {"ce": m.ce * mean_cross_entropy(student, labels), "target": mean(target), "others": last}


def normkd(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    losses = []
    for a, b in zip(student, teacher, strict=True):
        ours, theirs = (m.norm_temperature * (deviation(row) + 1e-7) for row in (a, b))
        losses.append(theirs**2 * kl(softmax(b, theirs), softmax(a, ours)))
    return {"ce": m.ce * mean_cross_entropy(student, labels), "kd": m.weight * mean(losses)}


def ttm(m: Any, student: Rows, teacher: Rows, labels: list[int], epoch: int) -> Terms:
    losses = []
    for a, b in zip(student, teacher, strict=True):
        powers = [value ** (1 / m.temperature) for value in softmax(b)]
        share = sum(powers) if m.weighted else 1.0
        losses.append(share * kl([power / sum(powers) for power in powers], softmax(a)))
    return {"ce": mean_cross_entropy(student, labels), "match": m.weight * mean(losses)}
