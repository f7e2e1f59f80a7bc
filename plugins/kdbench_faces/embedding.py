"""The face-embedding network of the npm package @vladmandic/face-api, in torch.

A residual network in the manner of dlib's face recognition: every convolution is followed by a scale and an offset of
each channel, blocks add their input, and a down-sampling block adds its means over 2x2 pixels instead. It has 5,614,592
numbers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

import kdbench
from kdbench_faces.weights import read_weights

SIDE, SIZE = 150, 128
MEAN_RGB = (122.782, 117.001, 104.298)
STEM = 32
BLOCKS: tuple[tuple[str, int, int], ...] = (
    ("conv32_1", 32, 32),
    ("conv32_2", 32, 32),
    ("conv32_3", 32, 32),
    ("conv64_down", 32, 64),
    ("conv64_1", 64, 64),
    ("conv64_2", 64, 64),
    ("conv64_3", 64, 64),
    ("conv128_down", 64, 128),
    ("conv128_1", 128, 128),
    ("conv128_2", 128, 128),
    ("conv256_down", 128, 256),
    ("conv256_1", 256, 256),
    ("conv256_2", 256, 256),
    ("conv256_down_out", 256, 256),
)
"""Name in the weights' manifest, channels in, channels out; those called "down" halve the size."""


class FaceEmbedding(nn.Module):
    """Pictures of a face -> vectors whose distance tells people apart.

    Takes (N, 1 or 3, H, W), float32 in [0, 255], of any size: the middle square is scaled to 150x150 (bilinear), grey
    is repeated over the three channels. Returns (N, 128), float32, as the network gives them: not of unit length.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = _Scaled(3, STEM, kernel=7, stride=2, padding=0)
        self.blocks = nn.ModuleDict({name: _Block(name, *widths) for name, *widths in BLOCKS})
        self.fc = nn.Linear(BLOCKS[-1][-1], SIZE, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN_RGB)[:, None, None], persistent=False)
        last = {f"stage{stage}": f"blocks.{name}" for stage, name in enumerate(_ends_of_stages(), 1)}
        self.feature_layers = {**last, "penultimate": "fc:input"}

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings (N, 128)."""
        x = (self._prepared(pictures) - self.mean) / 255
        x = max_pool2d(self.conv32_down(x).relu(), 3, 2)
        for block in self.blocks.values():
            x = block(x)
        embedding: Tensor = self.fc(x.mean((2, 3)))
        return embedding

    @staticmethod
    def _prepared(pictures: Tensor) -> Tensor:
        height, width = pictures.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = pictures[:, :, top : top + side, left : left + side]
        return interpolate(square, (SIDE, SIDE), mode="bilinear", antialias=side > SIDE).expand(-1, 3, -1, -1)


class _Scaled(nn.Module):
    """A convolution, then a scale and an offset of each channel."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1, padding: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
        self.scale = nn.Parameter(torch.ones(channels_out, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels_out, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.conv(x) * self.scale + self.offset
        return scaled


class _Block(nn.Module):
    """Two convolutions, added to the input; a "down" block halves the size, and adds channels of zeros."""

    def __init__(self, name: str, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.halves = "_down" in name
        stride, padding = (2, 0) if self.halves else (1, 1)
        self.conv1 = _Scaled(channels_in, channels_out, stride=stride, padding=padding)
        self.conv2 = _Scaled(channels_out, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x).relu())
        if self.halves:
            x = avg_pool2d(x, 2)
            x = pad(x, (0, 0, 0, 0, 0, out.shape[1] - x.shape[1]))
            # Without padding the convolution may end one pixel short of the mean: a row and a column of zeros.
            out = pad(out, (0, x.shape[3] - out.shape[3], 0, x.shape[2] - out.shape[2]))
        return (out + x).relu()


def _ends_of_stages() -> list[str]:
    """The last block at each resolution."""
    names = [name for name, *_ in BLOCKS]
    return [name for name, after in zip(names, [*names[1:], "_down"], strict=True) if "_down" in after]


def load_embedding(directory: Path) -> FaceEmbedding:
    """The network with the weights of a directory that holds the manifest and the files it names.

    Raises: DataNotAvailable, InvalidData for weights that are damaged or of another network.
    """
    model = FaceEmbedding()
    given = read_weights(directory)
    state, found = model.state_dict(), {}
    for name in state:
        key = _name_in_manifest(name)
        if key not in given:
            raise kdbench.InvalidData(
                f"{directory} holds no weights of the face embedding",
                f"its manifest has no tensor {key!r}",
                "kdbench data fetch face-embedding",
            )
        values = given.pop(key)
        if values.ndim == 4:  # height, width, in, out -> out, in, height, width
            values = values.transpose(3, 2, 0, 1)
        elif values.ndim == 2:
            values = values.T
        if values.size != state[name].numel() or values.shape != state[name].shape[: values.ndim]:
            raise kdbench.InvalidData(
                f"{directory} holds weights of another network",
                f"tensor {key!r} is {values.shape}, not {tuple(state[name].shape)}",
            )
        found[name] = torch.from_numpy(values.copy()).reshape(state[name].shape)
    if given:
        raise kdbench.InvalidData(
            f"{directory} holds weights of another network", f"nothing takes its tensor {next(iter(given))!r}"
        )
    model.load_state_dict(found)
    return model.requires_grad_(False).eval()


def _name_in_manifest(name: str) -> str:
    """`blocks.conv32_1.conv1.conv.weight` -> `conv32_1/conv1/conv/filters`."""
    if name == "fc.weight":
        return "fc"
    path = name.removeprefix("blocks.").replace(".", "/")
    for ours, theirs in (
        ("conv/weight", "conv/filters"),
        ("/scale", "/scale/weights"),
        ("/offset", "/scale/biases"),
    ):
        if path.endswith(ours):
            return path.removesuffix(ours) + theirs
    return path


def face_embedding(info: kdbench.DatasetInfo) -> nn.Module:
    """The pretrained teacher `face-embedding`, for pictures (1 or 3, H, W) in [0, 255].

    Raises: ModelMismatch for other inputs; DataNotAvailable where the weights are not on the machine.
    """
    if len(info.input_shape) != 3 or info.input_shape[0] not in {1, 3}:
        raise kdbench.ModelMismatch(
            f"teacher 'face-embedding' cannot see view {info.view!r} of dataset {info.name!r}",
            f"its items have shape {info.input_shape}, not (1 or 3, H, W)",
        )
    from kdbench_faces.source import weights_directory

    return load_embedding(weights_directory())
