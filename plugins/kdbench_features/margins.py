"""OFD's margins and partial distance."""

import math

import torch
from torch import nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)


class Partial(nn.Module):
    """The distance of projected student features from a teacher's, not counted where both say no.

    Margins, one for each channel, are given, or are those of the values that were observed.
    """

    def __init__(self, regressor, margins, shape):
        super().__init__()
        self.regressor = regressor
        self._axes = [0, *range(2, len(shape) + 1)]
        broadcast = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("margins", torch.zeros(broadcast) if margins is None else margins.reshape(broadcast))
        self._total = self._count = torch.zeros(broadcast, dtype=torch.float64)

    @torch.no_grad()
    def observe(self, teacher):
        """Take a batch of the teacher's values into the margins; a channel that is never negative has margin 0."""
        negative = teacher < 0
        sums = teacher.where(negative, 0.0).sum(self._axes)
        self._total = self._total + sums.cpu().double().view_as(self._total)
        self._count = self._count + negative.sum(self._axes).cpu().view_as(self._count)
        self.margins.copy_(self._total / self._count.clamp_min(1))

    def forward(self, student, teacher):
        """The distance of features (N, ...), summed over an item, on average over the items."""
        wanted, found = torch.maximum(teacher, self.margins), self.regressor(student)
        counted = (found > wanted) | (wanted > 0)
        return (wanted - found).square().where(counted, 0.0).sum() / len(student)


def norms_before(model, path, channels):
    """The batch norms of `channels` whose outputs, added up, are what the activation at `path` receives.

    In a sequence it is the module before. Another module tells the children that it adds up (`pre_activation_terms`):
    each ends in one, or passes on what was activated before. Empty where there is none, or `path` is no activation's
    input.
    """
    place, _, end = path.rpartition(":")
    if end != "input" or type(model.get_submodule(place)).__module__ != nn.ReLU.__module__:
        return []
    owner, _, name = place.rpartition(".")
    parent = model.get_submodule(owner)
    if isinstance(parent, nn.Sequential):
        names = list(parent._modules)
        terms = names[max(0, names.index(name) - 1) : names.index(name)]
    else:
        terms = getattr(parent, "pre_activation_terms", ())
    ends = (list(parent.get_submodule(term).modules())[-1] for term in terms)
    return [norm for norm in ends if isinstance(norm, _NORMS) and norm.num_features == channels]


def norm_margins(model, path, channels):
    """E[x | x < 0] for each channel of what the activation at `path` receives, as its batch norms give it; (C,)."""
    mean = variance = torch.zeros(channels)
    for norm in norms_before(model, path, channels):
        if norm.affine:
            mean, variance = mean + norm.bias.detach().cpu(), variance + norm.weight.detach().cpu().square()
        else:
            variance = variance + 1
    return negative_mean(mean, variance.sqrt())


def negative_mean(mean, deviation):
    """E[x | x < 0] of normal x: μ − σ φ(μ/σ) / Φ(−μ/σ), in float64 by logarithms; of a constant, min(μ, 0)."""
    mean, deviation = mean.double(), deviation.double()
    z = mean / deviation.clamp_min(torch.finfo(torch.float64).tiny)
    ratio = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(-z)).exp()
    return torch.where(deviation > 0, mean - deviation * ratio, mean.clamp_max(0)).clamp_max(0).float()
