"""Optimisers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from kdbench.recipe import Recipe


def make_optimizer(
    parameters: Iterable[nn.Parameter], recipe: Recipe, lr: float | None = None
) -> torch.optim.Optimizer:
    """The recipe's optimiser, fused where the device has it and no loss scale has to be taken out before clipping."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    lr = recipe.lr if lr is None else lr
    scaled = recipe.precision == "16-mixed"
    fused = not scaled and all(p.device.type in {"cpu", "cuda"} and p.is_floating_point() for p in trained)
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(
            trained, lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov, fused=fused
        )
        if recipe.momentum:  # torch's fused SGD fails where a parameter has its first gradient later than the others
            for parameter in trained:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(trained, lr, weight_decay=recipe.weight_decay, fused=fused)


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
