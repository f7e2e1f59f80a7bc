"""Random streams that depend on the run's seed and their purpose alone, so that seeds pair up between methods."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

TEACHER_SEED = 0


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


@contextmanager
def own_stream(seed: int, *purpose: object) -> Iterator[None]:
    """Torch's and NumPy's global generators on a stream of their own; afterwards they go on where they were."""
    numpy_state = np.random.get_state()
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng([torch.cuda.current_device()] if on_gpu else []):
        seed_global(seed, *purpose)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
