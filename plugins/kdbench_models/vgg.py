"""VGG for small images (Simonyan & Zisserman, 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition"), in the variant of CRD (Tian et al., 2020): batch normalisation, global average pooling and one linear
layer in place of the three, and no pooling before the last stage unless images have 64 pixels or more.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from kdbench_models.staged import (
    StagedNet,
    global_pool,
    image_shape,
    init_convolutions,
    init_small_classifier,
)

if TYPE_CHECKING:
    from kdbench import DatasetInfo

WIDTHS = (64, 128, 256, 512, 512)


def vgg(name: str, depths: tuple[int, ...], info: DatasetInfo) -> StagedNet:
    """Five stages of `depths` 3x3 convolutions; a stage begins with the pooling, so its feature is not pooled."""
    channels, height, width = image_shape(name, info)
    stages = []
    for number, ((inputs, outputs), depth) in enumerate(zip(pairwise((channels, *WIDTHS)), depths, strict=True)):
        pooled = 1 <= number <= 3 or (number == 4 and min(height, width) >= 64)
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if pooled else []
        for position in range(depth):
            layers += [
                nn.Conv2d(inputs if position == 0 else outputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        stages.append(nn.Sequential(*layers))
    net = StagedNet(stages=stages, head=global_pool(), fc=nn.Linear(WIDTHS[-1], info.num_classes))
    init_convolutions(net)
    init_small_classifier(net.fc)
    return net


vgg8 = partial(vgg, "vgg8", (1, 1, 1, 1, 1))
vgg11 = partial(vgg, "vgg11", (1, 1, 2, 2, 2))
vgg13 = partial(vgg, "vgg13", (2, 2, 2, 2, 2))
