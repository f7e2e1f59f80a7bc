"""Noise to inputs of a dataset's shape."""

from math import prod

from torch import nn
from torch.nn.functional import interpolate

NOISE = 100
WIDTH = 128


def generator(shape):
    """A generator of items of `shape`: convolutional for (C, H, W), else of two layers.

    Its last layer is a batch norm without weights, so that every channel (or column) has mean 0 and variance 1 over a
    batch, as standardised data has. It is made to stay in training mode, and takes batches of two items or more.
    """
    return _Pictures(shape) if len(shape) == 3 else _Vectors(shape)


class _Vectors(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(
            nn.Linear(NOISE, 2 * WIDTH), nn.BatchNorm1d(2 * WIDTH), nn.LeakyReLU(0.2),
            nn.Linear(2 * WIDTH, prod(shape)), nn.BatchNorm1d(prod(shape), affine=False),
        )  # fmt: skip

    def forward(self, noise):
        """Items (N, *shape) of noise (N, 100)."""
        return self.layers(noise).unflatten(1, self.shape)


class _Pictures(nn.Module):
    """A quarter of the size, doubled twice by repeating pixels, between convolutions."""

    def __init__(self, shape):
        super().__init__()
        channels, *self.size = shape
        self.start = [-(-side // 4) for side in self.size]
        self.first = nn.Linear(NOISE, WIDTH * prod(self.start))
        self.norm = nn.BatchNorm2d(WIDTH)
        self.middle = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.LeakyReLU(0.2))
        self.last = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1), nn.BatchNorm2d(WIDTH // 2), nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH // 2, channels, 3, padding=1), nn.BatchNorm2d(channels, affine=False),
        )  # fmt: skip

    def forward(self, noise):
        """Items (N, C, H, W) of noise (N, 100)."""
        maps = self.norm(self.first(noise).unflatten(1, (WIDTH, *self.start)))
        maps = self.middle(interpolate(maps, size=[-(-side // 2) for side in self.size]))
        return self.last(interpolate(maps, size=self.size))
