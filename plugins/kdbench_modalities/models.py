"""Small networks for small pictures that look at patches first, so that little is computed at full size."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from kdbench_models.staged import StagedNet, conv_bn, global_pool, image_shape, init_convolutions

if TYPE_CHECKING:
    from kdbench import DatasetInfo

PATCH = 4


def patches(name: str, widths: tuple[int, ...], info: DatasetInfo) -> StagedNet:
    """Patches of 4x4 pixels as one convolution of stride 4, then 3x3 convolutions of stride 2, each with batch norm.

    The stem is as in Dosovitskiy et al. (2021); the stages are three, of the given widths, the first of which is the
    stem's. Raises: ValueError for what is no image of at least 8x8 pixels.
    """
    channels, _, _ = image_shape(name, info)
    stem = nn.Sequential(
        nn.Conv2d(channels, widths[0], PATCH, stride=PATCH, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
    )
    stages = [stem, *(conv_bn(inputs, outputs, stride=2) for inputs, outputs in pairwise(widths))]
    net = StagedNet(stages=stages, head=global_pool(), fc=nn.Linear(widths[-1], info.num_classes))
    init_convolutions(net)
    return net


patches_s = partial(patches, "patches-s", (24, 48, 96))
patches_m = partial(patches, "patches-m", (64, 128, 256))
