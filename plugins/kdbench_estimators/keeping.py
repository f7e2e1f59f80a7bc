"""Estimators as bytes that run no code when they are read: skops's format, the same bytes for the same estimator."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

import kdbench

_EPOCH = (1980, 1, 1, 0, 0, 0)


def to_bytes(estimator: Any) -> bytes:
    """The estimator in skops's format, without what differs from process to process: addresses, time of writing."""
    from skops.io import dumps

    written = zipfile.ZipFile(io.BytesIO(dumps(estimator)))
    schema, numbers = json.loads(written.read("schema.json")), {}

    def renumber(node: Any) -> Any:
        if isinstance(node, list):
            return [renumber(part) for part in node]
        if not isinstance(node, dict):
            return node
        node = {key: renumber(value) for key, value in node.items()}
        if "__id__" in node:  # an address, by which shared parts are found again
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
        if isinstance(node.get("file"), str):
            node["file"] = files.setdefault(node["file"], f"{len(files)}{re.sub('^[^.]*', '', node['file'])}")
        return node

    files: dict[str, str] = {}
    renumbered = json.dumps(renumber(schema), indent=None)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as kept:
        kept.writestr(zipfile.ZipInfo("schema.json", _EPOCH), renumbered, zipfile.ZIP_DEFLATED)
        for old, new in files.items():
            kept.writestr(zipfile.ZipInfo(new, _EPOCH), written.read(old), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def from_bytes(data: bytes, what: str, trust: Callable[[str], bool]) -> Any:
    """The estimator again.

    Args:
        trust: whether a type that skops does not itself trust may be made.

    Raises: ModelMismatch where the bytes are no skops file, or hold types that are not trusted.
    """
    from skops.io import get_untrusted_types, loads

    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise kdbench.ModelMismatch(
            f"{what} is no file of skops",
            "a pickle or a joblib file runs whatever code it holds when it is read, and is refused",
            "in the session that made it: skops.io.dump(estimator, 'FILE.skops')",
        )
    try:
        unknown = get_untrusted_types(data=data)
    except Exception as error:  # a damaged archive raises as its parts do
        raise _damaged(what, error) from error
    if refused := [name for name in unknown if not trust(name)]:
        raise kdbench.ModelMismatch(
            f"{what} holds types that are not trusted: {', '.join(refused)}",
            "skops does not vouch that making them is harmless",
            f"where you know who made it: ?trust={','.join(refused)}",
        )
    try:
        return loads(data, trusted=unknown)
    except Exception as error:
        raise _damaged(what, error) from error


def _damaged(what: str, error: Exception) -> kdbench.ModelMismatch:
    why = f"damaged, or of other versions of scikit-learn and skops: {type(error).__name__}: {error}"
    return kdbench.ModelMismatch(f"{what} cannot be read", why, "write it again")
