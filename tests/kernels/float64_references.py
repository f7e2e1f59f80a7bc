"""The losses in float64, from the papers' formulas and SciPy's definitions, one row at a time."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit, log_softmax, logsumexp, rel_entr


def relative_entropy(log_p, log_q):
    """Σ p (log p − log q) from logarithms, since a probability may be 0 in float64 where its logarithm is not -inf."""
    possible = log_p > -np.inf
    return (np.exp(log_p[possible]) * (log_p[possible] - log_q[possible])).sum()


def kl(student, teacher, temperature=1.0):
    """T² · KL(p ‖ q)."""
    return temperature**2 * relative_entropy(log_softmax(teacher / temperature), log_softmax(student / temperature))


def kl_of_probabilities(student, p, temperature=1.0):
    with np.errstate(divide="ignore"):
        return temperature**2 * relative_entropy(np.log(p), log_softmax(student / temperature))


def z_scored(row):
    return (row - row.mean()) / (row.std() + 1e-7)


def cross_entropy(student, label, smoothing=0.0, weight=None):
    """One row's cost, before the mean."""
    costs = -log_softmax(student)
    weight = np.ones(len(student)) if weight is None else weight
    return (1 - smoothing) * weight[label] * costs[label] + smoothing * (weight * costs).mean()


def divergence(student, teacher, temperature, kind, beta):
    log_p, log_q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    p, q = np.exp(log_p), np.exp(log_q)
    match kind:
        case "forward_kl":
            value = relative_entropy(log_p, log_q)
        case "reverse_kl":
            value = relative_entropy(log_q, log_p)
        case "js":
            middle = beta * p + (1 - beta) * q
            value = beta * rel_entr(p, middle).sum() + (1 - beta) * rel_entr(q, middle).sum()
        case "skew_kl":
            value = rel_entr(p, beta * p + (1 - beta) * q).sum()
        case "skew_reverse_kl":
            value = rel_entr(q, beta * q + (1 - beta) * p).sum()
        case "tvd":
            value = abs(p - q).sum() / 2
    return temperature**2 * value


def dkd(student, teacher, label, temperature):
    """The target and the non-target term, times T²; the target's by log-odds, since 1 − p may be 0 in float64."""
    others = np.arange(len(student)) != label
    x, y = student / temperature, teacher / temperature
    if not others.any():
        return 0.0, 0.0
    u, v = x[label] - logsumexp(x[others]), y[label] - logsumexp(y[others])
    target = expit(v) * (log_expit(v) - log_expit(u)) + expit(-v) * (log_expit(-v) - log_expit(-u))
    non_target = relative_entropy(log_softmax(y[others]), log_softmax(x[others]))
    return temperature**2 * target, temperature**2 * non_target


def topk(student, values, indices, temperature, values_are="logits", tail="renormalize"):
    listed = indices >= 0
    if not listed.any():
        return 0.0
    values, indices = values[listed], indices[listed]
    log_q = log_softmax(student / temperature)
    match values_are:
        case "logits":
            log_p = log_softmax(values / temperature)
        case "log_probs":
            log_p = values
        case "probs":
            log_p = np.log(values)
    if tail == "renormalize":
        log_p = log_p - logsumexp(log_p)
    value = relative_entropy(log_p, log_q[indices])
    others = np.setdiff1d(np.arange(len(student)), indices)
    if tail == "bucket" and len(others):
        value += rel_entr(max(0.0, 1 - np.exp(log_p).sum()), np.exp(log_q[others]).sum())
    return temperature**2 * value
