"""Random streams that depend on the run's seed and their purpose alone, so that seeds pair up between methods."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose ("student", "order", 3): independent streams, stable across processes."""
    words = [seed, *(zlib.crc32(repr(part).encode()) for part in purpose)]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator on its own stream."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def seed_global(seed: int, *purpose: object) -> None:
    """Seed torch's and NumPy's global generators (dropout, initialisation)."""
    torch.manual_seed(derive(seed, *purpose))
    np.random.seed(derive(seed, *purpose) % 2**32)
