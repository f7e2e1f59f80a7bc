"""What a step's loss is made of: checked, summed, and averaged over an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.engine.peers import Peers
from kdbench.errors import Diverged, InvalidLoss
from kdbench.method import LossTerms, Method

Logs = dict[str, float]


def total_loss(terms: LossTerms, method: Method) -> Tensor:
    """The sum of the terms. Raises: InvalidLoss where one is no scalar tensor, or none depends on a parameter."""
    name = type(method).__name__
    for term, value in terms.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InvalidLoss(
                f"method {name} returned a loss that is not a scalar",
                f"term {term!r} has {found}",
                "reduce it over the batch in loss()",
            )
    if not terms:
        raise InvalidLoss(f"method {name} returned no loss terms")
    values = iter(terms.values())
    total = next(values)
    for value in values:
        total = total + value
    if not total.requires_grad:
        raise InvalidLoss(
            f"method {name} returned a loss without gradient",
            f"none of its terms ({', '.join(terms)}) depends on the student",
            "compute it from student.logits or student.features, without detach()",
        )
    return total


def mean_terms(steps: Sequence[tuple[float, LossTerms]], epoch: int, peers: Peers) -> Logs:
    """Epoch means of the logged terms and of their sum, checked finite: one transfer from the device for each term.

    A term's mean is over the steps that have it. `steps` has the weight of this process's share, and the terms' means
    over the share.
    """
    values: dict[str, list[Tensor]] = {}
    for _, terms in steps:
        for name, term in terms.items():
            values.setdefault(name, []).append(term)
    if peers.size == 1:
        means = {name: float(torch.stack(terms).float().mean()) for name, terms in values.items()}
    else:
        means = _mean_over_peers(steps, values, peers)
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise Diverged(f"loss term {name!r} became {mean} in epoch {epoch}")
    return {"loss": sum(means.values()), **(means if list(means) != ["loss"] else {})}


def _mean_over_peers(steps: Sequence[tuple[float, LossTerms]], values: dict[str, list[Tensor]], peers: Peers) -> Logs:
    """Each step's term is the weighted sum over the processes that have it."""
    mine = {}
    for name, terms in values.items():
        having = [(number, weight) for number, (weight, logged) in enumerate(steps) if name in logged]
        numbers = torch.stack(terms).double().cpu().tolist()
        mine[name] = {number: weight * value for (number, weight), value in zip(having, numbers, strict=True)}
    gathered = peers.gather(mine)
    means = {}
    for name in dict.fromkeys(name for each in gathered for name in each):
        found = [each[name] for each in gathered if name in each]
        means[name] = sum(sum(each.values()) for each in found) / len(set().union(*found))
    return means
