"""Residual networks for small images (He et al., 2016, "Deep Residual Learning for Image Recognition").

Two families: the three-stage CIFAR networks of section 4.2 (depth 6n + 2, base width 16, and their "x4" widening), and
the four-stage ImageNet networks with a 3x3 stride-1 stem for small images; those with their own stem are in `imagenet`.
A shortcut that changes shape is a 1x1 projection (option B), as in the distillation literature since CRD (Tian et al.,
2020); the paper's CIFAR networks pad with zeros (option A) and so have a few thousand parameters less.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from kdbench_models.staged import (
    Block,
    StagedNet,
    conv_bn,
    global_pool,
    image_shape,
    init_convolutions,
    stack_blocks,
)

if TYPE_CHECKING:
    from kdbench import DatasetInfo


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)); the sum before the ReLU is the input of the module `relu`."""

    pre_activation, pre_activation_terms = "relu:input", ("body", "shortcut")

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


def basic_block(inputs: int, outputs: int, stride: int) -> Residual:
    """Two 3x3 convolutions."""
    body = nn.Sequential(conv_bn(inputs, outputs, stride=stride), conv_bn(outputs, outputs, relu=False))
    return Residual(body, _shortcut(inputs, outputs, stride))


def bottleneck_block(inputs: int, outputs: int, stride: int) -> Residual:
    """1x1, 3x3 and 1x1 convolutions, a quarter as wide inside."""
    inside = outputs // 4
    body = nn.Sequential(
        conv_bn(inputs, inside, 1), conv_bn(inside, inside, stride=stride), conv_bn(inside, outputs, 1, relu=False)
    )
    return Residual(body, _shortcut(inputs, outputs, stride))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return conv_bn(inputs, outputs, 1, stride=stride, relu=False)


def resnet(
    name: str,
    info: DatasetInfo,
    *,
    stem: int,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    block: Block = basic_block,
    begin: Callable[[int, int], nn.Module] = conv_bn,
) -> StagedNet:
    """A residual network: a stem of `stem` channels, one stage per width, each after the first at half the size.

    `begin` makes the stem of input and output channels: 3x3 at stride 1.
    """
    channels, _, _ = image_shape(name, info)
    net = StagedNet(
        stem=begin(channels, stem),
        stages=stack_blocks(block, stem, widths=widths, depths=depths, strides=(1, *(2 for _ in widths[1:]))),
        head=global_pool(),
        fc=nn.Linear(widths[-1], info.num_classes),
    )
    init_convolutions(net)
    return net


def cifar_resnet(depth: int, widening: int, info: DatasetInfo) -> StagedNet:
    """Three stages of (depth - 2) / 6 basic blocks: 16, 32 and 64 channels times the widening.

    The "x4" networks of the distillation literature widen the stages four times but the stem only twice.
    """
    name, stem = (f"resnet{depth}", 16) if widening == 1 else (f"resnet{depth}x{widening}", 8 * widening)
    widths = (16 * widening, 32 * widening, 64 * widening)
    return resnet(name, info, stem=stem, widths=widths, depths=((depth - 2) // 6,) * 3)


resnet8 = partial(cifar_resnet, 8, 1)
resnet14 = partial(cifar_resnet, 14, 1)
resnet20 = partial(cifar_resnet, 20, 1)
resnet32 = partial(cifar_resnet, 32, 1)
resnet44 = partial(cifar_resnet, 44, 1)
resnet56 = partial(cifar_resnet, 56, 1)
resnet110 = partial(cifar_resnet, 110, 1)
resnet8x4 = partial(cifar_resnet, 8, 4)
resnet32x4 = partial(cifar_resnet, 32, 4)

resnet18 = partial(resnet, "resnet18", stem=64, widths=(64, 128, 256, 512), depths=(2, 2, 2, 2))
resnet34 = partial(resnet, "resnet34", stem=64, widths=(64, 128, 256, 512), depths=(3, 4, 6, 3))
resnet50 = partial(
    resnet, "resnet50", stem=64, widths=(256, 512, 1024, 2048), depths=(3, 4, 6, 3), block=bottleneck_block
)
