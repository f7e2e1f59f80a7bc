"""Values as text for the page: numbers as short as they need to be, compressed, without a sign that HTML reads."""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Sequence
from typing import Any

import msgspec

DIGITS = 5


def packed(value: Any) -> str:
    """The value as JSON, gzip and base64; the page unpacks it with the browser's own DecompressionStream."""
    return base64.b64encode(gzip.compress(msgspec.json.encode(value), mtime=0)).decode()


def shortened(value: Any, digits: int = DIGITS) -> Any:
    """The value with each float to so many significant digits, and null for what is not finite."""
    match value:
        case float():
            return float(f"{value:.{digits}g}") if math.isfinite(value) else None
        case dict():
            return {key: shortened(each, digits) for key, each in value.items()}
        case list() | tuple():
            return [shortened(each, digits) for each in value]
    return value


class Interned:
    """Equal values once, and the places where they are."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[bytes, int] = {}

    def place(self, value: Any) -> int:
        """The place of the value in `values`."""
        key = msgspec.json.encode(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def column(values: Sequence[Any], digits: int | None) -> list[Any]:
    """A column of numbers or None, whole where `digits` is None; numbers without a fraction as integers."""
    found = []
    for value in values:
        if isinstance(value, float):
            if not math.isfinite(value):
                value = None
            elif digits is not None:
                value = float(f"{value:.{digits}g}")
            if value is not None and value.is_integer() and abs(value) < 1e15:
                value = int(value)
        found.append(value)
    return found
