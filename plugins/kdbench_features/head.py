"""SimKD's parts of a student."""

from torch import nn

from kdbench_features.geometry import resized


class Projected(nn.Module):
    """A reader, a pooling or a classifier, behind a projector; in training it remembers what was projected."""

    def __init__(self, projector, reader):
        super().__init__()
        self.projector, self.reader, self._projected = projector, reader, None

    def forward(self, features):
        """What the reader makes of the projected features."""
        projected = self.projector(features)
        if self.training:
            self._projected = projected
        return self.reader(projected)

    def take(self):
        """What the last forward pass in training projected; it is forgotten."""
        projected, self._projected = self._projected, None
        return projected


class Resized(nn.Module):
    """Maps (N, C, H, W) averaged down to a size."""

    def __init__(self, size):
        super().__init__()
        self._size = size

    def forward(self, maps):
        """The maps at that size."""
        return resized(maps, self._size)


def bottleneck(inputs, outputs, reduction, size=None):
    """1×1, 3×3 and 1×1 convolutions, each with batch norm and ReLU, of maps that are averaged down to `size` first."""
    middle = max(1, outputs // reduction)
    before = [] if size is None else [Resized(size)]
    return nn.Sequential(*before, *_conv(inputs, middle, 1), *_conv(middle, middle, 3), *_conv(middle, outputs, 1))


def _conv(inputs, outputs, kernel):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
