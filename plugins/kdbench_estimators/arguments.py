"""Names with settings: `PATH?key=value&key=value`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

import kdbench


def split(text: str, what: str, known: Collection[str] | None = None) -> tuple[str, dict[str, Any]]:
    """The part before the question mark, and the settings after it; values are JSON where they can be, else text.

    Args:
        known: the settings that there are; None allows any.

    Raises: InvalidParameter naming `what`.
    """
    path, _, query = text.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise kdbench.InvalidParameter(
            f"{what}: {query!r} is no list of settings", fix="?key=value&key=value"
        ) from error
    for key, _ in pairs:
        if known is not None and key not in known:
            raise kdbench.InvalidParameter(f"{what} has no setting {key!r}", f"it has: {', '.join(known)}")
    return path, {key: _value(value) for key, value in pairs}


def existing(path: str, what: str) -> Path:
    """The file of that path. Raises: ModelMismatch where there is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise kdbench.ModelMismatch(f"{what}: no file {path!r}", fix="check the path after the colon")
    return file


def output_is_logits(settings: dict[str, Any], what: str) -> bool:
    """Whether the setting `output` says "logits". Raises: InvalidParameter for another than it and "probabilities"."""
    output = settings.get("output", "probabilities")
    if output not in {"probabilities", "logits"}:
        raise kdbench.InvalidParameter(f"{what}: output={output!r}", "it is probabilities or logits")
    return bool(output == "logits")


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text.lower() if text in {"True", "False"} else "null" if text == "None" else text)
    except msgspec.DecodeError:
        return text
