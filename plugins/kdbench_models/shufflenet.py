"""ShuffleNet for small images: V1 (Zhang et al., 2018, "ShuffleNet") and V2 (Ma et al., 2018, "ShuffleNet V2").

The variants of CRD (Tian et al., 2020): a 1x1 stem without stride or pooling, and torch's default initialisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench_models.staged import StagedNet, conv_bn, global_pool, image_shape, stack_blocks

if TYPE_CHECKING:
    from kdbench import DatasetInfo

STEM_WIDTH = 24
V1_GROUPS = 3


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` groups."""
    batch, channels, height, width = x.shape
    grouped = x.reshape(batch, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(x.shape)


class ShuffleUnitV1(nn.Module):
    """Grouped 1x1, shuffle, 3x3 depthwise, grouped 1x1; added to the input, or joined to it pooled (stride 2)."""

    pre_activation, pre_activation_terms = "relu:input", ("expand", "shortcut")

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.joins = stride == 2
        branch = outputs - inputs if self.joins else outputs
        inside = branch // 4
        self.groups = 1 if inputs == STEM_WIDTH else V1_GROUPS
        self.compress = conv_bn(inputs, inside, 1, groups=self.groups)
        self.depthwise = conv_bn(inside, inside, stride=stride, groups=inside)
        self.expand = conv_bn(inside, branch, 1, groups=V1_GROUPS, relu=False)
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if self.joins else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        branch = self.expand(self.depthwise(channel_shuffle(self.compress(x), self.groups)))
        shortcut = self.shortcut(x)
        y: Tensor = self.relu(torch.cat([branch, shortcut], dim=1) if self.joins else branch + shortcut)
        return y


class ShuffleUnitV2(nn.Module):
    """Half of the channels pass, half are transformed, then both are shuffled; at stride 2 both halves see it all."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.splits = stride == 1
        self.left = (
            nn.Identity()
            if self.splits
            else nn.Sequential(
                conv_bn(inputs, inputs, stride=stride, groups=inputs, relu=False), conv_bn(inputs, half, 1)
            )
        )
        self.right = nn.Sequential(
            conv_bn(half if self.splits else inputs, half, 1),
            conv_bn(half, half, stride=stride, groups=half, relu=False),
            conv_bn(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        left, right = x.chunk(2, dim=1) if self.splits else (x, x)
        return channel_shuffle(torch.cat([self.left(left), self.right(right)], dim=1), 2)


def shufflenetv1(info: DatasetInfo) -> StagedNet:
    """ShuffleNet V1 1x with 3 groups."""
    channels, _, _ = image_shape("shufflenetv1", info)
    widths = (240, 480, 960)
    return StagedNet(
        stem=conv_bn(channels, STEM_WIDTH, 1),
        stages=stack_blocks(ShuffleUnitV1, STEM_WIDTH, widths=widths, depths=(4, 8, 4), strides=(2, 2, 2)),
        head=global_pool(),
        fc=nn.Linear(widths[-1], info.num_classes),
    )


def shufflenetv2(info: DatasetInfo) -> StagedNet:
    """ShuffleNet V2 1x."""
    channels, _, _ = image_shape("shufflenetv2", info)
    widths, last = (116, 232, 464), 1024
    return StagedNet(
        stem=conv_bn(channels, STEM_WIDTH, 1),
        stages=stack_blocks(ShuffleUnitV2, STEM_WIDTH, widths=widths, depths=(4, 8, 4), strides=(2, 2, 2)),
        head=global_pool(conv_bn(widths[-1], last, 1)),
        fc=nn.Linear(last, info.num_classes),
    )
