"""The summaries of a large store in one file, so that a report does not read tens of thousands again.

The file is outside the results directory, which may be read-only and is merged by copying, in the user's cache. It is
never believed further than the records it was made from: a summary counts only while its record has the size and the
time of its last change that it had then, to the nanosecond.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from kdbench.durable import replace_file
from kdbench.records import SCHEMA, Summary
from kdbench.version import __version__

LEAST = 2000
"""Runs from which a file of their summaries is worth its place."""
_NEWS = 0.02
"""The share of records read anew from which the file is written again."""

Stamp = tuple[int, int]
"""Nanoseconds of the last change, and bytes, of a record's file."""
NO_STAMP: Stamp = (-1, -1)
"""Of a file that cannot be looked at: the stamp of no other."""
Stamped = tuple[Stamp, Summary]


class _Kept(msgspec.Struct, array_like=True):
    """The file's content; `made_by` tells the version and shape of what wrote it."""

    made_by: str
    stamps: list[Stamp]
    summaries: list[Summary]


def load(runs: Path) -> dict[str, Stamped]:
    """What is kept of the records below a directory, by run id; nothing where there is no file that can be used."""
    try:
        kept = msgspec.msgpack.decode(_file(runs).read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):  # it is made again
        return {}
    if kept.made_by != _made_by() or len(kept.stamps) != len(kept.summaries):
        return {}
    return {summary.run_id: (stamp, summary) for stamp, summary in zip(kept.stamps, kept.summaries, strict=True)}


def save(runs: Path, found: Mapping[str, Stamped], read: int) -> None:
    """Keep summaries of which `read` were read anew, where that is worth while. A cache that cannot be is not kept."""
    if len(found) < LEAST or read <= _NEWS * len(found):
        return
    kept = _Kept(_made_by(), [stamp for stamp, _ in found.values()], [summary for _, summary in found.values()])
    file = _file(runs)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, msgspec.msgpack.encode(kept), file.parent)


def stamp(path: str) -> Stamp:
    """Raises: OSError."""
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


def _file(runs: Path) -> Path:
    from kdbench.fetching.cache import root

    name = hashlib.sha256(os.fsencode(runs.absolute())).hexdigest()[:32]
    return root() / "stores" / f"{name}.msgpack"


def _made_by() -> str:
    shape = hashlib.sha256(msgspec.json.encode(msgspec.json.schema(Summary))).hexdigest()[:16]
    return f"{__version__} {SCHEMA} {shape}"
