"""What the architectures share: the staged layout, the usual blocks, and the check of the input shape.

No activation works in place, so that a hook on any module sees the value that the module returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from kdbench import DatasetInfo

MINIMUM_SIZE = 8

Block = Callable[[int, int, int], nn.Module]  # (input channels, output channels, stride)


class StagedNet(nn.Module):
    """A classifier in named parts: stem, stage1 ... stageN, head, fc.

    `feature_layers` maps a feature's name to the module that outputs it (or, with ":input", receives it);
    `pre_activations`, to where it is before its activation, for those whose last module does not tell.
    `published_names` maps the names of a state dict that others publish to those of this module's.
    """

    pre_activations: Mapping[str, str] = {}
    published_names: Mapping[str, str] = {}

    def __init__(
        self, *, stages: Sequence[nn.Module], fc: nn.Linear, stem: nn.Module | None = None, head: nn.Module
    ) -> None:
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.stage_names = tuple(f"stage{number}" for number in range(1, len(stages) + 1))
        for name, stage in zip(self.stage_names, stages, strict=True):
            self.add_module(name, stage)
        self.head = head
        self.fc = fc
        self.feature_layers = {name: name for name in self.stage_names} | {"penultimate": "fc:input"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (N, classes)."""
        x = self.stem(x)
        for name in self.stage_names:
            x = getattr(self, name)(x)
        logits: Tensor = self.fc(self.head(x))
        return logits

    def tail(self, path: str) -> nn.Module | None:
        """The model's own modules from a stage's output to the logits; None for a module that is no stage."""
        if path not in self.stage_names:
            return None
        after = self.stage_names[self.stage_names.index(path) + 1 :]
        return nn.Sequential(*(getattr(self, name) for name in after), self.head, self.fc)


def image_shape(model: str, info: DatasetInfo) -> tuple[int, int, int]:
    """The dataset's (C, H, W), once checked to be large enough for an image model.

    Raises: ValueError for a dataset that has no images, or images below 8x8.
    """
    if len(info.input_shape) != 3:
        raise ValueError(
            f"model {model!r} needs images (C, H, W), but {info.name!r} has input shape {info.input_shape}; "
            f"choose a model for vectors, such as mlp-s"
        )
    channels, height, width = info.input_shape
    if min(height, width) < MINIMUM_SIZE:
        raise ValueError(
            f"model {model!r} needs images of at least {MINIMUM_SIZE}x{MINIMUM_SIZE}, "
            f"but {info.name!r} has input shape {info.input_shape}; choose a smaller model, such as mlp-s"
        )
    return channels, height, width


def conv_bn(
    inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution without bias, batch normalisation and, unless told otherwise, ReLU; keeps the size at stride 1."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def global_pool(*before: nn.Module) -> nn.Sequential:
    """The given modules, then global average pooling to (N, C)."""
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def stack_blocks(
    block: Block, inputs: int, *, widths: Sequence[int], depths: Sequence[int], strides: Sequence[int]
) -> list[nn.Sequential]:
    """One stage per width: `depth` blocks, the first of which changes the width and applies the stride."""
    stages = []
    for width, depth, stride in zip(widths, depths, strides, strict=True):
        stages.append(nn.Sequential(block(inputs, width, stride), *(block(width, width, 1) for _ in range(depth - 1))))
        inputs = width
    return stages


def init_convolutions(net: nn.Module) -> None:
    """Kaiming normal by fan-out (He et al., 2015) for every convolution, zero for its bias."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_small_classifier(fc: nn.Linear) -> None:
    """Normal with standard deviation 0.01 and zero bias, as VGG and MobileNetV2 start their last layer."""
    nn.init.normal_(fc.weight, std=0.01)
    nn.init.zeros_(fc.bias)
