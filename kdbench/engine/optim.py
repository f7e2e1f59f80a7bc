"""Optimisers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from kdbench.recipe import Recipe


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    recipe: Recipe,
    lr: float | None = None,
    undecayed: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """The recipe's optimiser, fused where the device has it and no loss scale has to be taken out before clipping.

    Those of the parameters that are in `undecayed` too are a group of their own, without weight decay.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    apart = {id(parameter) for parameter in undecayed}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if id(parameter) not in apart]},
        {"params": [parameter for parameter in trained if id(parameter) in apart], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    lr = recipe.lr if lr is None else lr
    scaled = recipe.precision == "16-mixed"
    fused = not scaled and all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in trained)
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(
            groups, lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov, fused=fused
        )
        if recipe.momentum:  # torch's fused SGD fails where a parameter has its first gradient later than the others
            for parameter in trained:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr, weight_decay=recipe.weight_decay, fused=fused)


def bare_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that belong to no layer of torch, nor to a class derived from one: temperatures, variances.

    They are those of an `nn.ParameterList` or `nn.ParameterDict`, and those that a module of one's own holds itself.
    """
    owners = (each for each in module.modules() if not _is_layer(type(each)))
    return [parameter for owner in owners for parameter in owner.parameters(recurse=False)]


def _is_layer(kind: type) -> bool:
    return any(base.__module__.startswith("torch.nn.") and base.__module__ not in _NO_LAYERS for base in kind.__mro__)


_NO_LAYERS = {nn.Module.__module__, nn.Sequential.__module__}


def lr_factor(recipe: Recipe, step: int, steps: int, steps_per_epoch: int) -> float:
    """What the learning rate is multiplied by at `step` of `steps`.

    cosine: ½(1 + cos(π·progress)) (Loshchilov & Hutter, 2017, eq. 5, one cycle, η_min 0); step: gamma at each
    milestone; onecycle: cosine from 1/25 up to 1 over 30% of the steps, then down to 1/(25·10⁴) (Smith & Topin, 2018).
    """
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, steps - warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "step":
        return recipe.gamma ** sum(step >= milestone * steps for milestone in recipe.milestones)
    if recipe.schedule == "onecycle":
        peak = 0.3
        if progress < peak:
            return _cosine_between(1 / 25, 1.0, progress / peak)
        return _cosine_between(1.0, 1 / 25e4, (progress - peak) / (1 - peak))
    return 1.0


def _cosine_between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * fraction))
