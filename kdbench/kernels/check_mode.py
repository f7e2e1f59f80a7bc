"""Check mode: looks at the values of the inputs, at the price of a pass over them and, on a GPU, of waiting for it.

Switched on by `with checked():`, or for a whole process by KDBENCH_KERNELS_CHECK=1 when the package is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from kdbench.errors import InvalidParameter
from kdbench.kernels.tracing import traced

VARIABLE = "KDBENCH_KERNELS_CHECK"

_checking: ContextVar[bool] = ContextVar("kdbench_kernels_check", default=os.environ.get(VARIABLE, "") not in {"", "0"})


switched_on = _checking.get
"""Whether check mode was asked for."""


def checking() -> bool:
    """Whether check mode is on; never where values cannot be looked at, as within torch.compile."""
    return not traced() and _checking.get()


@contextmanager
def checked(on: bool = True) -> Iterator[None]:
    """Within the block every loss looks at its inputs' values first; on=False switches KDBENCH_KERNELS_CHECK off.

    The losses then raise InvalidParameter for labels or indices out of range, a temperature that is not positive,
    and rows that hold NaN or +inf, or that are -inf in every class (rows that the mask leaves out are not looked at).
    """
    token = _checking.set(on)
    try:
        yield
    finally:
        _checking.reset(token)


def check_logits(function: str, name: str, logits: Tensor, counted: Tensor | None = None) -> None:
    """Raise InvalidParameter for the first row (that counts) whose softmax does not exist.

    Args:
        function, name: for the message.
        logits: shape (..., V).
        counted: bool, shape (...); rows where it is False are not looked at.
    """
    if logits.shape[-1] == 0:
        return
    # The largest value is NaN where any is.
    top = logits.detach().amax(-1)
    bad = ~torch.isfinite(top) if counted is None else ~torch.isfinite(top) & counted
    if not bool(bad.any()):
        return
    place = tuple(int(i) for i in bad.nonzero()[0])
    value = float(top[place])
    found = "is -inf in every class" if value == -float("inf") else f"holds {value}"
    raise InvalidParameter(
        f"{function}: {name} {found} in a row",
        f"row {place[0] if len(place) == 1 else place} of shape {tuple(logits.shape)}; {int(bad.sum())} such rows",
        "mend the model's output, or leave the row out with mask=",
    )


def check_positive(function: str, temperature: Tensor) -> None:
    """Raise InvalidParameter where a temperature is not a positive, finite number."""
    values = temperature.detach()
    bad = ~((values > 0) & torch.isfinite(values))
    if bool(bad.any()):
        place = tuple(int(i) for i in bad.nonzero()[0]) if values.ndim else ()
        raise InvalidParameter(
            f"{function}: temperature {float(values[place])} is not a positive, finite number",
            f"at index {place[0] if len(place) == 1 else place}" if place else "",
            "clamp it, as in temperature.clamp(min=0.1)",
        )


def check_range(function: str, name: str, values: Tensor, upper: int, allowed: int) -> bool:
    """Raise InvalidParameter for a class outside [0, upper) that is not the allowed extra value.

    Returns: whether none is the allowed value, which may be a class too.
    """
    if values.numel() == 0:
        return True
    low, high = torch.aminmax(values)
    if int(low) >= 0 and int(high) < upper and not 0 <= allowed < upper:
        return True
    bad = ((values < 0) | (values >= upper)) & (values != allowed)
    if bool(bad.any()):
        place = tuple(int(i) for i in bad.nonzero()[0]) if values.ndim else ()
        raise InvalidParameter(
            f"{function}: {name} holds class {int(values[place])}; the logits have classes 0 to {upper - 1}",
            f"at index {place[0] if len(place) == 1 else place}" if place else "",
            f"use {allowed} for places that do not count" if allowed < 0 or allowed >= upper else "",
        )
    return not bool((values == allowed).any())
