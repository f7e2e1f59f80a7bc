"""MobileNetV2 for small images (Sandler et al., 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks").

The half-width variant of the distillation literature (Jin et al., 2019, RCO; Tian et al., 2020, CRD): expansion 6,
ReLU in place of ReLU6, a 1x1 expansion also in the first block, and a total stride of 16 in place of 32.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from kdbench_models.staged import (
    StagedNet,
    conv_bn,
    global_pool,
    image_shape,
    init_convolutions,
    init_small_classifier,
    stack_blocks,
)

if TYPE_CHECKING:
    from kdbench import DatasetInfo

LAST_WIDTH = 1280


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a residual where the shape stays."""

    pre_activation = ""  # nothing is activated after the projection

    def __init__(self, expansion: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.body = nn.Sequential(
            conv_bn(inputs, inside, 1),
            conv_bn(inside, inside, stride=stride, groups=inside),
            conv_bn(inside, outputs, 1, relu=False),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def mobilenetv2(info: DatasetInfo) -> StagedNet:
    """MobileNetV2 at half width; table 2 of the paper in four stages, cut where the size or the CRD features change."""
    channels, _, _ = image_shape("mobilenetv2", info)
    first = InvertedResidual(1, 16, 8, stride=1)
    groups = stack_blocks(
        partial(InvertedResidual, 6),
        8,
        widths=(12, 16, 32, 48, 80, 160),
        depths=(2, 3, 4, 3, 3, 1),
        strides=(1, 2, 2, 1, 2, 1),
    )
    net = StagedNet(
        stem=conv_bn(channels, 16, stride=2),
        stages=[
            nn.Sequential(first, groups[0]),
            groups[1],
            nn.Sequential(groups[2], groups[3]),
            nn.Sequential(groups[4], groups[5]),
        ],
        head=global_pool(conv_bn(160, LAST_WIDTH, 1)),
        fc=nn.Linear(LAST_WIDTH, info.num_classes),
    )
    init_convolutions(net)
    init_small_classifier(net.fc)
    return net
