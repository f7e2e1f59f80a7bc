"""Views standardised: per column, or per channel of pictures, by what the train items are like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdbench.data import Preprocess
from kdbench.engine.splits import Positions
from kdbench.preparation import Preparation

CHUNK_BYTES = 1 << 23
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


def as_images(array: NDArray[Any]) -> NDArray[Any]:
    """Grey pictures (N, H, W) with a channel."""
    return array[:, None] if array.ndim == 3 else array


def moments_of(array: NDArray[Any], train: Positions, how: Preprocess, *, what: str) -> Moments:
    """Mean and 1/deviation on the train items, shaped to broadcast over one item; `what` tells how far it is.

    Per channel for images, per value otherwise (bytes are not scaled to [0, 1] first: it would cancel).
    1/deviation is 0 where the train items are all equal, up to rounding: the bound is
    scikit-learn's, n·ε·var + (n·ε·mean)².
    """
    axes = (0, 2, 3) if how == "image" else (0,)
    shape = (array.shape[1], 1, 1) if how == "image" else array.shape[1:]
    count = len(train) * (array[0, 0].size if how == "image" else 1)
    mean = np.zeros(shape)
    for chunk in _chunks(array, train, f"{what} (means)"):
        mean += chunk.sum(axis=axes).reshape(shape)
    mean /= count
    variance = np.zeros(shape)
    for chunk in _chunks(array, train, f"{what} (deviations)"):
        chunk -= mean
        np.square(chunk, out=chunk)
        variance += chunk.sum(axis=axes).reshape(shape)
    variance /= count
    noise = count * np.finfo(np.float64).eps
    constant = variance <= noise * variance + (noise * mean) ** 2
    return mean, np.where(constant, 0.0, 1.0 / np.sqrt(np.where(constant, 1.0, variance)))


def given_moments(channels: tuple[Sequence[float], Sequence[float]], dtype: np.dtype[Any]) -> Moments:
    """Given means and deviations of channels, as `moments_of`; of bytes they are on the scale of [0, 1]."""
    mean, deviation = np.array(channels, dtype=np.float64)[:, :, None, None] * (255.0 if dtype == np.uint8 else 1.0)
    return mean, 1.0 / deviation


def transformed(array: NDArray[Any], items: Positions, how: Preprocess, moments: Moments | None) -> Tensor:
    """The items as float32. Bytes are standardised in float32, everything else in float64 (large offsets)."""
    out = np.empty((len(items), *array.shape[1:]), dtype=np.float32)
    dtype = np.float32 if array.dtype == np.uint8 else np.float64
    rows = max(1, CHUNK_BYTES // (array[0].size * np.dtype(dtype).itemsize))
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is refused by name afterwards
        for start in range(0, len(items), rows):
            chunk, into = array[items[start : start + rows]], out[start : start + rows]
            if moments is None:
                into[...] = chunk
                continue
            mean, scale = (moment.astype(dtype) for moment in moments)
            part = np.subtract(chunk, mean, out=into if dtype == np.float32 else None, dtype=dtype)
            np.multiply(part, scale, out=into, casting="same_kind")
    return torch.from_numpy(out)


def _chunks(array: NDArray[Any], items: Positions, what: str) -> Iterator[NDArray[np.float64]]:
    """Copies of a few items at a time, as float64."""
    rows = max(1, CHUNK_BYTES // (array[0].size * np.dtype(np.float64).itemsize))
    progress = Preparation(what, len(items))
    for start in range(0, len(items), rows):
        chunk = array[items[start : start + rows]].astype(np.float64)
        yield chunk
        progress.done(start + len(chunk))
