"""How to train: the part of a combo that is the same for every method."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "step", "onecycle"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Positive = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training settings, validated on construction from the command line or a plugin.

    `milestones` are fractions of the training (0.625 of 240 epochs is epoch 150); `warmup_epochs` raises the learning
    rate linearly before any schedule; `clip_norm` bounds the norm of the student's gradient, and by itself that of the
    method's own modules; `ema` averages the student's weights and scores the average; `select` picks the checkpoint
    that is scored ("best" on validation `monitor`, or "last"); `finetune_epochs` trains the distilled student on labels
    alone afterwards, at `finetune_lr` (a tenth of `lr` where absent).
    """

    epochs: Annotated[int, Meta(ge=1)] = 60
    batch_size: Annotated[int, Meta(ge=1)] = 64
    optimizer: Optimizer = "sgd"
    lr: Positive = 0.05
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Meta(ge=0)] = 5e-4
    schedule: Schedule = "cosine"
    milestones: tuple[Annotated[float, Meta(gt=0, lt=1)], ...] = (0.625, 0.75, 0.875)
    gamma: Annotated[float, Meta(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[float, Meta(ge=0)] = 0
    clip_norm: Positive | None = None
    ema: Fraction | None = None
    precision: Precision = "32-true"
    augment: tuple[str, ...] = ()
    select: Literal["best", "last"] = "best"
    monitor: Literal["accuracy", "loss"] = "accuracy"
    patience: Annotated[int, Meta(ge=1)] | None = None
    finetune_epochs: Annotated[int, Meta(ge=0)] = 0
    finetune_lr: Positive | None = None
