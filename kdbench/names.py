"""Names as people read them: suggestions for one that is not known, and what was changed of what it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x' or 'y'?`, or nothing where no known name is close."""
    close = get_close_matches(name, list(dict.fromkeys(known)), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def settings_text(name: str, settings: Mapping[str, Any]) -> str:
    """`kd(alpha=0.5, temperature=2)`: a name with what was set of it, the name alone where nothing was."""
    inner = ", ".join(f"{key}={_value(value)}" for key, value in sorted(settings.items()))
    return f"{name}({inner})" if inner else name


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return msgspec.json.encode(value).decode()
