"""Wide residual networks (Zagoruyko & Komodakis, 2016, "Wide Residual Networks"), without dropout.

Blocks are pre-activation (He et al., 2016b): a stage's feature is the sum, before the next normalisation and ReLU; its
feature before the activation is what the next ReLU receives.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from kdbench_models.staged import StagedNet, global_pool, image_shape, init_convolutions, stack_blocks

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after BN and ReLU; a shortcut that changes width takes the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        )
        self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        active = self.activate(x)
        shortcut = x if self.projection is None else self.projection(active)
        y: Tensor = shortcut + self.body(active)
        return y


def wide_resnet(depth: int, widening: int, info: DatasetInfo) -> StagedNet:
    """WRN-depth-widening: three stages of (depth - 4) / 6 blocks, 16, 32 and 64 channels times the widening."""
    channels, _, _ = image_shape(f"wrn-{depth}-{widening}", info)
    widths = (16 * widening, 32 * widening, 64 * widening)
    net = StagedNet(
        stem=nn.Conv2d(channels, 16, 3, 1, 1, bias=False),
        stages=stack_blocks(PreActivationBlock, 16, widths=widths, depths=((depth - 4) // 6,) * 3, strides=(1, 2, 2)),
        head=global_pool(nn.BatchNorm2d(widths[-1]), nn.ReLU()),
        fc=nn.Linear(widths[-1], info.num_classes),
    )
    net.pre_activations = {"stage1": "stage2.0.activate.1:input", "stage2": "stage3.0.activate.1:input",
                           "stage3": "head.1:input"}  # fmt: skip
    init_convolutions(net)
    nn.init.zeros_(net.fc.bias)
    return net


wrn_16_1 = partial(wide_resnet, 16, 1)
wrn_16_2 = partial(wide_resnet, 16, 2)
wrn_40_1 = partial(wide_resnet, 40, 1)
wrn_40_2 = partial(wide_resnet, 40, 2)
