"""The networks of the ImageNet tables: sizes of their maps, and weights under torchvision's names."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kdbench.engine.checkpoints import load_weights
from kdbench.errors import CheckpointError

CLASSES = 7
DEPTHS = {"imagenet-resnet18": (2, 2, 2, 2), "imagenet-resnet34": (3, 4, 6, 3), "imagenet-resnet50": (3, 4, 6, 3)}


def kernels(architecture: str, block: int, inputs: int, width: int) -> list[tuple[int, int, int, int]]:
    """Outputs, inputs, kernel and stride of each convolution of a block."""
    stride = 2 if block == 0 and width > 64 else 1
    if architecture == "imagenet-resnet50":
        return [(width, inputs, 1, 1), (width, width, 3, stride), (4 * width, width, 1, 1)]
    return [(width, inputs, 3, stride), (width, width, 3, 1)]


def theirs(architecture: str, counted: bool) -> dict[str, torch.Tensor]:
    """Random weights under the names and in the shapes that torchvision's models have."""
    stream, state = torch.Generator().manual_seed(3), {}

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=stream)

    def convolution(name: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        state[f"{name}.weight"] = draw(outputs, inputs, kernel, kernel) * (2 / (inputs * kernel**2)) ** 0.5
        state[f"{norm}.weight"], state[f"{norm}.bias"] = draw(outputs) * 0.1 + 1, draw(outputs) * 0.1
        state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = draw(outputs) * 0.1, draw(outputs).abs() + 0.5
        if counted:  # files of before torch 0.4.1 lack it
            state[f"{norm}.num_batches_tracked"] = torch.tensor(5)

    convolution("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, depth in enumerate(DEPTHS[architecture], 1):
        for block in range(depth):
            layers = kernels(architecture, block, inputs, 32 * 2**stage)
            for number, (wide, narrow, kernel, _) in enumerate(layers, 1):
                prefix = f"layer{stage}.{block}"
                convolution(f"{prefix}.conv{number}", f"{prefix}.bn{number}", wide, narrow, kernel)
            if block == 0 and inputs != layers[-1][0]:
                convolution(f"{prefix}.downsample.0", f"{prefix}.downsample.1", layers[-1][0], inputs, 1)
            inputs = layers[-1][0]
    state |= {"fc.weight": draw(CLASSES, inputs) * inputs**-0.5, "fc.bias": draw(CLASSES)}
    return state


def forward(architecture: str, state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network in plain functions of torch."""

    def layer(x: torch.Tensor, name: str, norm: str, stride: int) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts)

    x = functional.max_pool2d(layer(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for stage, depth in enumerate(DEPTHS[architecture], 1):
        for block in range(depth):
            prefix, y = f"layer{stage}.{block}", x
            strides = [stride for *_, stride in kernels(architecture, block, 0, 32 * 2**stage)]
            for number, stride in enumerate(strides, 1):
                y = layer(y, f"{prefix}.conv{number}", f"{prefix}.bn{number}", stride)
                y = y.relu() if number < len(strides) else y
            if f"{prefix}.downsample.0.weight" in state:
                x = layer(x, f"{prefix}.downsample.0", f"{prefix}.downsample.1", max(strides))
            x = (x + y).relu()
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("architecture", DEPTHS)
def test_weights_under_torchvisions_names_give_the_logits_of_its_network(build, tmp_path, architecture, counted):
    state = theirs(architecture, counted)
    torch.save(state, tmp_path / "theirs.pth")
    model = build(architecture, (3, 64, 64), CLASSES).eval()
    load_weights(model, tmp_path / "theirs.pth", architecture)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = forward(architecture, state, x)
    assert expected.std() > 0.1
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_a_file_of_another_depth_or_that_lacks_a_layer_is_refused(build, tmp_path):
    model = build("imagenet-resnet18", (3, 64, 64), CLASSES)
    whole = theirs("imagenet-resnet18", True)
    for state in (theirs("imagenet-resnet34", True), {name: whole[name] for name in whole if name != "conv1.weight"}):
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match="is not of model 'imagenet-resnet18'"):
            load_weights(model, tmp_path / "other.pth", "imagenet-resnet18")


@pytest.mark.parametrize("architecture", [*DEPTHS, "imagenet-mobilenetv1"])
def test_a_picture_of_224_becomes_one_of_7(build, architecture):
    model, sizes = build(architecture, (3, 224, 224)).eval(), []
    for name in model.stage_names:
        getattr(model, name).register_forward_hook(lambda _, args, output: sizes.append(output.shape[2:]))
    model(torch.zeros(1, 3, 224, 224))
    assert sizes == [(56, 56), (28, 28), (14, 14), (7, 7)]
