"""Small convolutional networks for images from 8x8 to about 112x92, grey or colour."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from kdbench_models.staged import StagedNet, conv_bn, global_pool, image_shape, init_convolutions

if TYPE_CHECKING:
    from kdbench import DatasetInfo

WORKING_SIZE = 24


def cnn(name: str, widths: tuple[int, ...], convolutions: int, info: DatasetInfo) -> StagedNet:
    """Three stages of 3x3 convolutions with batch normalisation and ReLU, the second and third at stride 2.

    An image of twice the working size or more is first averaged down to a short side of 24 to 47 pixels, so that
    the last stage sees a good part of it and large images stay cheap.
    """
    channels, height, width = image_shape(name, info)
    shrink = max(1, min(height, width) // WORKING_SIZE)
    stages = [
        nn.Sequential(
            conv_bn(inputs, outputs, stride=1 if number == 0 else 2),
            *(conv_bn(outputs, outputs) for _ in range(convolutions - 1)),
        )
        for number, (inputs, outputs) in enumerate(pairwise((channels, *widths)))
    ]
    net = StagedNet(
        stem=nn.AvgPool2d(shrink) if shrink > 1 else None,
        stages=stages,
        head=global_pool(),
        fc=nn.Linear(widths[-1], info.num_classes),
    )
    init_convolutions(net)
    return net


cnn_s = partial(cnn, "cnn-s", (8, 16, 32), 1)
cnn_m = partial(cnn, "cnn-m", (32, 64, 128), 1)
cnn_l = partial(cnn, "cnn-l", (40, 80, 160), 2)
