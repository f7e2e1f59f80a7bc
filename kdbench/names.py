"""Names as people read them: suggestions for one that is not known, and what was changed of what it names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x' or 'y'?`, or nothing where no known name is close."""
    close = get_close_matches(name, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def label(name: str, overrides: dict[str, Any]) -> str:
    """`kd(temperature=2)`: a name with what was changed of it."""
    inside = ", ".join(f"{key}={value}" for key, value in overrides.items())
    return f"{name}({inside})" if inside else name
