"""The processes that train one run together: what each takes of a batch, and what they agree on.

Every process executes the whole run with the same seeds, and so comes to the same models, batches and decisions; they
differ in the share of a batch that they compute. Process 0 alone writes. Fabric launches them and owns their devices;
gradients are averaged here and not by DDP's wrapper, because a method may run a model several times in a step, call
parts of its own modules, or step optimisers of its own, none of which that wrapper allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from kdbench.errors import PeerLost

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


class Peers:
    """Process `rank` of the `size` that train the same run; alone, every exchange does nothing."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.rank, self.size = (fabric.global_rank, fabric.world_size) if fabric is not None else (0, 1)
        self._fabric = fabric if self.size > 1 else None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: int) -> tuple[slice, float]:
        """Which of a batch's items this process computes, and the weight of their mean in the batch's mean.

        A batch with fewer than two items for each is computed whole by all: batch norm has no variance of one item.
        """
        if items < 2 * self.size:
            return slice(0, items), 1 / self.size
        start, stop = items * self.rank // self.size, items * (self.rank + 1) // self.size
        return slice(start, stop), (stop - start) / items

    def agree(self, value: T) -> T:
        """What the first process says."""
        if self._fabric is None:
            return value
        with _reaching():
            agreed: T = self._fabric.broadcast(value)
        return agreed

    def wait(self) -> None:
        """Until all processes are here."""
        if self._fabric is not None:
            with _reaching():
                self._fabric.barrier()

    def add(self, values: Tensor) -> Tensor:
        """The sum of the processes' tensors, in place; the same bits for all."""
        if self._fabric is not None:
            with _reaching():
                distributed.all_reduce(values)
        return values

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self._fabric is None:
            return [value]
        gathered: list[Any] = [None] * self.size
        with _reaching():
            distributed.all_gather_object(gathered, value)
        return gathered

    def equalize(self, *modules: nn.Module | None) -> None:
        """Give the modules of all processes the first one's parameters and buffers."""
        if self._fabric is not None:
            with _reaching(), torch.no_grad():
                for module in modules:
                    for value in (*module.parameters(), *module.buffers()) if module is not None else ():
                        distributed.broadcast(value, src=0)

    def average_gradients(self, parameters: Sequence[nn.Parameter], weight: float) -> None:
        """Replace gradients of shares' means by the gradient of the batch's mean; `weight` is this share's.

        A parameter that no process has a gradient of keeps none, so that its optimiser leaves it alone.
        """
        if self._fabric is None:
            return
        for dtype, device in dict.fromkeys((p.dtype, p.device) for p in parameters):
            alike = [p for p in parameters if (p.dtype, p.device) == (dtype, device)]
            missing = [place for place, p in enumerate(alike) if p.grad is None]
            flat = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in alike]
            reached = torch.ones(len(alike), dtype=dtype, device=device)
            reached[missing] = 0
            summed = self.add(torch.cat([torch.cat(flat).mul_(weight), reached]))
            *means, reached = torch.split(summed, [*(p.numel() for p in alike), len(alike)])
            nowhere = {place for place in missing if not reached[place]}  # a GPU is waited for only if one is missing
            for place, (parameter, mean) in enumerate(zip(alike, means, strict=True)):
                parameter.grad = None if place in nowhere else mean.view_as(parameter)

    def average_buffers(self, module: nn.Module) -> None:
        """Replace floating-point buffers (batch norm's running statistics) by their means over the processes."""
        if self._fabric is not None:
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    self.add(buffer.div_(self.size))


ALONE = Peers()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(
            "a process of this run could not be reached",
            str(error).partition("\n")[0],
            "its log, beside this one, may say why it ended",
        ) from error
