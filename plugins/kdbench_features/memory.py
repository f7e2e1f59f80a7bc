"""What is known of train items, by their index."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

MOST_BYTES = 1 << 30
"""Of all items together: the input gradients of CIFAR's 50,000 pictures in float32 take 0.6 of it."""


class Memory:
    """Rows of tensors for `items` items, each as it was first kept; nothing at all where all would be too large."""

    def __init__(self, items: int) -> None:
        self.items = items
        self._known: Tensor | None = None
        self._rows: list[Tensor] = []

    def of(self, index: Tensor) -> list[Tensor] | None:
        """The rows of the items `index` (N,), each tensor (N, ...); None where not all of them are known."""
        if self._known is None or not bool(self._known[index].all()):
            return None
        return [rows[index] for rows in self._rows]

    def keep(self, index: Tensor, values: Sequence[Tensor]) -> None:
        """Remember a row (N, ...) of each value for each item of `index` (N,)."""
        import torch

        if self._known is None:
            if self.items * sum(value[0].numel() * value.element_size() for value in values) > MOST_BYTES:
                return
            self._known = torch.zeros(self.items, dtype=torch.bool, device=index.device)
            self._rows = [value.new_empty((self.items, *value.shape[1:])) for value in values]
        for rows, value in zip(self._rows, values, strict=True):
            rows[index] = value
        self._known[index] = True

    def recalled(self, index: Tensor, make: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        """The rows of the items `index` (N,), or what `make()` gives and is kept, where not all of them are known."""
        found: Sequence[Tensor] | None = self.of(index)
        if found is None:
            found = make()
            self.keep(index, found)
        return found
