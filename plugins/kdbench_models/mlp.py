"""Softmax regression and multi-layer perceptrons, for inputs of any shape."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from kdbench_models.staged import StagedNet

if TYPE_CHECKING:
    from kdbench import DatasetInfo


def mlp(hidden: tuple[int, ...], info: DatasetInfo) -> StagedNet:
    """A ReLU network on the flattened input, every hidden layer a stage; torch's default initialisation."""
    widths = (math.prod(info.input_shape), *hidden)
    return StagedNet(
        stem=nn.Flatten(),
        stages=[nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in pairwise(widths)],
        head=nn.Identity(),
        fc=nn.Linear(widths[-1], info.num_classes),
    )


linear = partial(mlp, ())
mlp_s = partial(mlp, (32,))
mlp_m = partial(mlp, (128, 128))
mlp_l = partial(mlp, (512, 512))
