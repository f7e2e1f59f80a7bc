"""CRD's embeddings, and the memory of what they said of each training item."""

import math

import torch
from torch import nn
from torch.nn.functional import normalize

from kdbench_features.geometry import flat, unit


class Embedding(nn.Module):
    """Two linear maps to unit vectors, and what they said of each training item; label -1 where nothing yet."""

    def __init__(self, student, teacher, size, items):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(math.prod(shape), size) for shape in (student, teacher))
        self.register_buffer("labels", torch.full((items,), -1))
        self.register_buffer("ones", normalize(torch.randn(items, size), dim=1))
        self.register_buffer("others", normalize(torch.randn(items, size), dim=1))
        self.latest = None

    def forward(self, student, teacher):
        """Both features as unit vectors (N, size)."""
        return tuple(unit(linear(flat(each))) for linear, each in zip(self.maps, (student, teacher), strict=True))

    def drawn(self, count):
        """Labels and both embeddings of every item of the bank, or of `count` drawn at random where it has more."""
        kept = self.labels, self.ones, self.others
        if len(self.labels) <= count:
            return kept
        rows = torch.randint(len(self.labels), (count,), device=self.labels.device)
        return tuple(each[rows] for each in kept)

    @torch.no_grad()
    def keep(self, batch, momentum):
        """Mix the latest embeddings into the bank."""
        self.labels[batch.index] = batch.labels
        for kept, new in zip((self.ones, self.others), self.latest, strict=True):
            kept[batch.index] = unit(torch.lerp(new, kept[batch.index], momentum))
