"""Where fetched and prepared data is on this machine: whole or absent, and made by one process at a time."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache as remembered
from pathlib import Path

import msgspec

from kdbench.durable import reason, remove
from kdbench.errors import DataNotAvailable, FetchError
from kdbench.fetching.sources import Source

VARIABLE = "KDBENCH_CACHE"
MANIFEST = "manifest.json"
FILES = "files"
_PATIENCE = 1.0

OnWait = Callable[[], None]
"""Called where another process holds what is needed."""


class File(msgspec.Struct, frozen=True):
    """One extracted file. `sha256` is of its content as it came."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What was extracted from a source.

    Args:
        files: by path inside the archive, which is the path on disk too.
        fetched: when, in ISO 8601.
        commit: of the hub, that the files are of; later fetches ask for the same. None of an archive.
    """

    source: Source
    files: dict[str, File]
    fetched: str
    commit: str = ""


def root() -> Path:
    """$KDBENCH_CACHE, or the user's cache directory of this system."""
    from platformdirs import user_cache_path

    asked = os.environ.get(VARIABLE)
    return Path(asked).expanduser().absolute() if asked else user_cache_path("kdbench")


def key(source: Source) -> str:
    """A directory name, of the archive (of the hub: name and revision) and of the files wanted from it."""
    content = source.sha256 or f"{source.name}@{source.version}"
    wanted = hashlib.sha256(msgspec.json.encode((content, sorted(source.files)))).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{source.client}-{source.name}-{source.version}")
    return f"{readable[:80]}-{wanted[:16]}"


def directory(source: Source) -> Path:
    """Where a source is, once it is fetched: its manifest, and below `files` what was extracted."""
    return root() / "sources" / key(source)


def downloads(source: Source) -> Path:
    """Where what has come of a source is kept until it is at its place."""
    return root() / "downloads" / key(source)


def is_here(source: Source) -> bool:
    """Whether a source was fetched: a directory appears in one step, complete. `verify` looks at the content."""
    return (directory(source) / MANIFEST).is_file()


def source_path(source: Source) -> Path:
    """The directory of a source's extracted files, each at its path inside the archive.

    Raises: DataNotAvailable, naming the `kdbench data fetch NAME` that gets it.
    """
    if is_here(source):
        return directory(source) / FILES
    names = _needed_by().get(source, ())
    what = f"dataset {names[0]!r}" if names else str(source)
    raise DataNotAvailable(
        f"{what} is not on this machine",
        f"{source} was not fetched",
        f"kdbench data fetch {names[0]}" if names else f"register it with sources=({source.name!r}, ...), and fetch it",
    )


def manifest(source: Source) -> Manifest:
    """What was fetched. Raises: FetchError where it is absent or cannot be read."""
    path = directory(source) / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise FetchError(f"{path} cannot be read", reason(error), "fetch it again") from error


def bytes_below(path: Path) -> int:
    """The bytes of all files below a directory, also while others write and remove there; 0 where there is none."""
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # gone meanwhile
                total += os.lstat(os.path.join(place, name)).st_size
    return total


@contextmanager
def locked(name: str, on_wait: OnWait = lambda: None) -> Iterator[None]:
    """Hold the lock of one entry; the operating system releases it when the holder dies.

    Raises: FetchError where the cache cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        (root() / "locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(root() / "locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            on_wait()
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise unwritable(error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A new directory on the file system of the cache, gone afterwards. Needs the lock: what killed ones left goes too.

    Raises: FetchError where the cache cannot be written.
    """
    parent = root() / "tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{name}.*"):
            remove(left)
        made = parent / f"{name}.{secrets.token_hex(4)}"
        made.mkdir()
    except OSError as error:
        raise unwritable(error) from error
    try:
        yield made
    finally:
        remove(made)


def unwritable(error: Exception) -> FetchError:
    """The cache cannot be written."""
    return FetchError(
        "the data cache cannot be written",
        f"{root()}: {reason(error) or type(error).__name__}",
        f"set {VARIABLE} to a directory that can be, with space left",
    )


@remembered
def _needed_by() -> dict[Source, tuple[str, ...]]:
    """The names of the datasets and models that declare each source."""
    from kdbench.fetching.holdings import fetched_entries
    from kdbench.plugins import load_plugins

    names: dict[Source, tuple[str, ...]] = {}
    for entry in fetched_entries(load_plugins().catalog):
        for source in entry.sources:
            names[source] = (*names.get(source, ()), entry.name)
    return names
