"""Files that survive a crash, and which process a temporary file belongs to."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def remove(path: Path) -> None:
    """Remove a file or a directory, as far as that is possible."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file; when this returns, its content is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes, tmp: Path) -> None:
    """Write a file so that it is seen whole or not at all; `tmp` is a directory of the same file system."""
    temporary = tmp / f"{path.name}.{secrets.token_hex(4)}"
    try:
        write_file(temporary, content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory as durable as the files."""
    if sys.platform == "win32":  # a directory cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason(error: Exception) -> str:
    """Why the operating system refused."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    if sys.platform == "win32":  # os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@cache
def this_host() -> str:
    """The machine, since it started, and the container: within them a process id names one process."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.blake2s("|".join(parts).encode(), digest_size=4).hexdigest()
