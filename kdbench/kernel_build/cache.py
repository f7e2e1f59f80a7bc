"""The per-user cache of built kernels: whole or absent, whatever is killed, and made by one process at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from kdbench.durable import reason, remove, replace_file
from kdbench.errors import KernelsNotBuilt

VARIABLE = "KDBENCH_KERNEL_CACHE"
DESCRIPTION = "build.json"
FAILURE_SECONDS = 600.0
"""How long a failed build is not tried again by other processes; `kdbench kernels build` tries at once."""

_KEPT = 16
_PATIENCE = 1.0


@dataclass(frozen=True)
class Built:
    """Built libraries in a directory, and what build.json says of them.

    Args:
        facts: compiler, flags, torch, abi, isas or architectures, machine, sources (hash), built (UTC), seconds by
            file, files (hash by name), missing (libraries that were not built, and why).
    """

    directory: Path
    facts: dict[str, Any]

    def path(self, file: str) -> Path | None:
        """Where a library is; None where it was not built."""
        return self.directory / file if file in self.facts["files"] else None


class Failure(msgspec.Struct, frozen=True):
    """A build that failed, as other processes read it. `time`: seconds since the epoch."""

    time: float
    what: str
    why: str
    fix: str
    log: str


def cache_directory() -> Path:
    """KDBENCH_KERNEL_CACHE, or the user's cache directory of this system."""
    from platformdirs import user_cache_path

    asked = os.environ.get(VARIABLE)
    return Path(asked).absolute() if asked else user_cache_path("kdbench") / "kernels"


def read_built(directory: Path) -> Built | None:
    """The libraries of a directory; None where they are absent, or one is not what was built."""
    try:
        facts = msgspec.json.decode((directory / DESCRIPTION).read_bytes(), type=dict[str, Any])
        files: dict[str, str] = facts["files"]
        whole = all(file_hash(directory / name) == value for name, value in files.items())
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None
    return Built(directory, facts) if whole else None


def find_in_cache(cache: Path, key: str) -> Built | None:
    """A build by its key."""
    return read_built(cache / key)


def find_family(cache: Path, family: str) -> Built | None:
    """The newest build of a family, by whichever compiler."""
    found = (read_built(directory) for directory in cache.glob(f"{family}-*") if directory.is_dir())
    return max((built for built in found if built), key=lambda built: str(built.facts["built"]), default=None)


@contextmanager
def locked(cache: Path, key: str, patience: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a build's lock; the operating system releases it when the holder dies.

    Raises: KernelsNotBuilt where the cache cannot be written, or another process holds the lock for too long.
    """
    try:
        (cache / "locks").mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(cache / "locks" / f"{key}.lock")
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            on_wait()
            lock.acquire(timeout=patience)
    except Timeout:
        raise KernelsNotBuilt(
            "another process has been compiling the kernels for too long",
            f"it holds {cache / 'locks' / key}.lock for more than {patience:.0f} s",
            "end it, then: kdbench kernels build",
        ) from None
    except (OSError, NotImplementedError) as error:
        raise unwritable(cache, error) from error
    try:
        yield
    finally:
        lock.release()


def scratch(cache: Path, key: str) -> Path:
    """A new private directory; what killed builds of the same key left behind is removed. Needs the lock."""
    parent = cache / "tmp"
    parent.mkdir(exist_ok=True, mode=0o700)
    for left in parent.glob(f"{key}.*"):
        remove(left)
    directory = parent / f"{key}.{os.getpid()}.{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    return directory


def publish(scratched: Path, cache: Path, key: str) -> None:
    """Make a finished build visible, in one step. Needs the lock."""
    final = cache / key
    if final.exists():
        os.replace(final, cache / "tmp" / f"{key}.{secrets.token_hex(4)}")  # processes that loaded it keep its files
    os.replace(scratched, final)
    for left in (cache / "tmp").glob(f"{key}.*"):
        remove(left)
    (cache / "failures" / f"{key}.json").unlink(missing_ok=True)
    _forget_old(cache)


def recent_failure(cache: Path, key: str) -> Failure | None:
    """A failure of this build within FAILURE_SECONDS."""
    try:
        failure = msgspec.json.decode((cache / "failures" / f"{key}.json").read_bytes(), type=Failure)
    except (OSError, msgspec.DecodeError):
        return None
    return failure if 0 <= time.time() - failure.time < FAILURE_SECONDS else None


def remember_failure(cache: Path, key: str, error: KernelsNotBuilt) -> None:
    """Let other processes know that this build fails. Needs the lock."""
    failure = Failure(time.time(), error.what, error.why, error.fix, error.log)
    with suppress(OSError):  # then they find out themselves
        (cache / "failures").mkdir(exist_ok=True, mode=0o700)
        (cache / "tmp").mkdir(exist_ok=True, mode=0o700)
        replace_file(cache / "failures" / f"{key}.json", msgspec.json.encode(failure), cache / "tmp")


def file_hash(path: Path) -> str:
    """A hash of a file's content."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def unwritable(cache: Path, error: Exception) -> KernelsNotBuilt:
    """The cache cannot be written."""
    why = reason(error) or type(error).__name__
    fix = f"set {VARIABLE} to a directory that can be written"
    return KernelsNotBuilt("the cache of compiled kernels cannot be written", f"{cache}: {why}", fix)


def _forget_old(cache: Path) -> None:
    """Keep the newest builds: sources, torch and compilers change."""
    with suppress(OSError):
        builds = [path.parent for path in cache.glob(f"*/{DESCRIPTION}")]
        for old in sorted(builds, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            remove(old)
