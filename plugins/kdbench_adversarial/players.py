"""The discriminators, and what playing against one takes."""

import math
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

LARGEST = 32


class LogitDiscriminator(nn.Module):
    """Of logits (N, classes): a score for the teacher's (N,), and logits of the label (N, classes)."""

    def __init__(self, classes, width):
        super().__init__()
        self.body = _layers(classes, width, 2 * width, width)
        self.real, self.label = nn.Linear(width, 1), nn.Linear(width, classes)

    def forward(self, logits):
        """(score, label's logits)."""
        hidden = self.body(logits)
        return self.real(hidden).squeeze(1), self.label(hidden)


class LabelDiscriminator(nn.Module):
    """Of inputs (N, ...): a score for each class (N, classes), of it being the item's true label.

    Pictures are averaged down to at most 32 × 32.
    """

    def __init__(self, shape, classes, width):
        super().__init__()
        size = tuple(min(length, LARGEST) for length in shape[1:]) if len(shape) == 3 else None
        self.shrink = nn.AdaptiveAvgPool2d(size) if size not in {None, tuple(shape[1:])} else nn.Identity()
        inputs = math.prod((shape[0], *size) if size else shape)
        self.body = nn.Sequential(nn.Flatten(), *_layers(inputs, width, width), nn.Linear(width, classes))

    def forward(self, inputs):
        """The scores."""
        return self.body(self.shrink(inputs))


def _layers(*widths):
    return nn.Sequential(*(layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.LeakyReLU(0.2))))


def improve(trainer, loss):
    """One step of the discriminator's own optimiser; the loss, detached."""
    optimizer = trainer.method_optimizers["discriminator"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def optimizer(module, lr, weight_decay):
    """What trains a discriminator."""
    return {"discriminator": torch.optim.Adam(module.parameters(), lr, (0.5, 0.999), weight_decay=weight_decay)}


@contextmanager
def frozen(module):
    """No gradients of the module's parameters: the players learn from it, not it from them."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
