"""A split's view that stays on disk: items are read, and standardised, when a batch asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdbench.engine.preprocessing import Moments

_AHEAD = 2
"""Batches that are read while another is used."""

Rows = slice | Tensor


class DiskView:
    """Items in a memory-mapped array of bytes, as float32 on a device: the rows that `transformed` gives, bit for bit.

    It serves in the place of the tensor (N, ...) of all of them, for what batches take: `len`, `shape`, `dtype`,
    `device`, `to`, `view[rows]`, which reads those rows, and `split`, which reads all, a few at a time.
    """

    dtype = torch.float32

    def __init__(
        self,
        array: NDArray[np.uint8],
        items: NDArray[np.int64],
        moments: Moments | None,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - a constant
    ) -> None:
        self._array, self._items, self._moments, self.device = np.asarray(array), items, moments, device
        self.shape = torch.Size((len(items), *array.shape[1:]))
        self._scaling: Sequence[Tensor] = (
            () if moments is None else [torch.from_numpy(each.astype(np.float32)).to(device) for each in moments]
        )

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, rows: int | Rows) -> Tensor:
        """Those rows, read now: int, slice, or a tensor of numbers or of truths, (n, ...)."""
        return self._ready(self._read(rows))

    def to(self, device: torch.device) -> DiskView:
        """The same view, whose rows come on `device`."""
        return DiskView(self._array, self._items, self._moments, device)

    def part(self, rows: Rows) -> DiskView:
        """Those rows as a view; nothing is read."""
        return DiskView(self._array, self._items[_numbers(rows)], self._moments, self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows in turn, `size` at a time, read ahead."""
        return self.batches(slice(start, start + size) for start in range(0, len(self), size))

    def batches(self, parts: Iterable[Rows]) -> Iterator[Tensor]:
        """The rows of each part in turn; the next ones are read, on a CPU standardised too, by a thread meanwhile."""
        with ThreadPoolExecutor(1, thread_name_prefix="kdbench-read") as reader:
            ahead: deque[Future[Tensor]] = deque()
            try:
                for rows in parts:
                    ahead.append(reader.submit(self._read, rows))
                    if len(ahead) > _AHEAD:
                        yield self._ready(ahead.popleft().result())
                while ahead:
                    yield self._ready(ahead.popleft().result())
            finally:
                for future in ahead:
                    future.cancel()

    def _read(self, rows: int | Rows) -> Tensor:
        """On a CPU the rows; elsewhere their bytes, in memory that a GPU can copy from by itself where there is one."""
        # np.take copies whole items, and lets other threads run meanwhile; an index does neither for sure.
        read = torch.from_numpy(np.take(self._array, self._items[_numbers(rows)], axis=0))
        if self.device.type == "cpu":
            return self._standardised(read)
        return read.pin_memory() if self.device.type == "cuda" else read

    def _ready(self, read: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return read
        return self._standardised(read.to(self.device, non_blocking=self.device.type == "cuda"))

    def _standardised(self, read: Tensor) -> Tensor:
        values = read.to(torch.float32)
        if self._scaling:
            mean, scale = self._scaling
            values.sub_(mean).mul_(scale)
        return values


Inputs = Tensor | DiskView
"""A split's view: in memory, on the device, or on disk."""


def part_of(inputs: Inputs, rows: Rows) -> Inputs:
    """Those rows, in memory or on disk as the inputs are."""
    return inputs[rows] if isinstance(inputs, Tensor) else inputs.part(rows)


def batches_of(inputs: Inputs, order: Iterable[Tensor], on_cpu: Iterable[Tensor]) -> Iterator[Tensor]:
    """The rows of each batch, given as numbers on the inputs' device and on the CPU; of a view on disk read ahead."""
    if isinstance(inputs, Tensor):
        return (inputs.index_select(0, rows) for rows in order)  # in half the time of inputs[rows]
    return inputs.batches(on_cpu)


def _numbers(rows: int | Rows) -> Any:
    return rows.cpu().numpy() if isinstance(rows, Tensor) else rows
