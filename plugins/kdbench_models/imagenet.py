"""The networks of the papers' ImageNet tables, which make a picture of 224x224 one of 7x7.

ResNets (He et al., 2016, "Deep Residual Learning for Image Recognition", table 1) with a 7x7 stride-2 stem and
max-pooling, the stride of a bottleneck at its 3x3 convolution; MobileNet (Howard et al., 2017, "MobileNets: Efficient
Convolutional Neural Networks for Mobile Vision Applications", table 1), without dropout.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from kdbench_models.resnet import bottleneck_block, resnet
from kdbench_models.staged import StagedNet, conv_bn, global_pool, image_shape, init_convolutions, stack_blocks

if TYPE_CHECKING:
    from kdbench import DatasetInfo

_TORCHVISION = (
    (r"^stem\.0\.", "conv1."),
    (r"^stem\.1\.", "bn1."),
    (r"^stage(\d)\.", r"layer\1."),
    (r"\.body\.(\d)\.0\.", lambda found: f".conv{int(found[1]) + 1}."),
    (r"\.body\.(\d)\.1\.", lambda found: f".bn{int(found[1]) + 1}."),
    (r"\.shortcut\.", ".downsample."),
)
"""From our names to those of torchvision's ResNets, of which the papers' teachers are."""


def imagenet_resnet(name: str, info: DatasetInfo, **architecture: Any) -> StagedNet:
    """A ResNet with the ImageNet stem; a state dict under torchvision's names can be loaded into it."""
    net = resnet(name, info, stem=64, begin=_pooled_stem, **architecture)
    net.published_names = {_torchvision_name(own): own for own in net.state_dict()}
    return net


def _pooled_stem(inputs: int, outputs: int) -> nn.Sequential:
    """7x7 at stride 2, then 3x3 max-pooling at stride 2: a quarter of the size."""
    return nn.Sequential(*conv_bn(inputs, outputs, 7, stride=2), nn.MaxPool2d(3, 2, 1))


def _torchvision_name(own: str) -> str:
    for pattern, theirs in _TORCHVISION:
        own = re.sub(pattern, theirs, own)
    return own


imagenet_resnet18 = partial(imagenet_resnet, "imagenet-resnet18", widths=(64, 128, 256, 512), depths=(2, 2, 2, 2))
imagenet_resnet34 = partial(imagenet_resnet, "imagenet-resnet34", widths=(64, 128, 256, 512), depths=(3, 4, 6, 3))
imagenet_resnet50 = partial(
    imagenet_resnet,
    "imagenet-resnet50",
    widths=(256, 512, 1024, 2048),
    depths=(3, 4, 6, 3),
    block=bottleneck_block,
)


def imagenet_mobilenetv1(info: DatasetInfo) -> StagedNet:
    """MobileNet at full width, in the four stages whose maps are of the size of a ResNet's."""
    channels, _, _ = image_shape("imagenet-mobilenetv1", info)
    net = StagedNet(
        stem=nn.Sequential(conv_bn(channels, 32, stride=2), separable(32, 64, 1)),
        stages=stack_blocks(separable, 64, widths=(128, 256, 512, 1024), depths=(2, 2, 6, 2), strides=(2, 2, 2, 2)),
        head=global_pool(),
        fc=nn.Linear(1024, info.num_classes),
    )
    init_convolutions(net)
    return net


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A depthwise 3x3 and a 1x1 convolution, each with batch normalisation and ReLU."""
    return nn.Sequential(conv_bn(inputs, inputs, stride=stride, groups=inputs), conv_bn(inputs, outputs, 1))
