"""Wanted files out of an archive: wheels and zips, sdists, npm's tgz, Debian's packages. Nothing is run."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from kdbench.errors import ClientMissing, DamagedArchive

_SYMLINK = 0o120000
_TYPE = 0o170000

_UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError
)  # fmt: skip

Opener = Callable[[], IO[bytes] | None]


def extract(archive: Path, wanted: tuple[str, ...], into: Path) -> list[str]:
    """Write the files that match a glob below a directory; their paths inside the archive, sorted.

    Raises: DamagedArchive for an archive that cannot be read, a glob that matches nothing, or a matching path that is
    absolute, leads out by `..`, or is a link to what is outside or absent.
    """
    into.mkdir(parents=True)
    written: list[str] = []
    unmatched = set(wanted)
    try:
        with _members(archive, into) as members:
            for name, opener in members:
                matching = [glob for glob in wanted if fnmatchcase(name, glob)]
                if not matching:
                    continue
                path = into / _safe(archive, name)
                source = opener()
                if source is None:
                    raise _unsafe(archive, name, "is a link to what is outside the archive, or absent")
                path.parent.mkdir(parents=True, exist_ok=True)
                with source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                unmatched.difference_update(matching)
                written.append(name)
    except _UNREADABLE as error:
        raise damaged(archive, f"{type(error).__name__}: {error}") from error
    if unmatched:
        raise damaged(archive, f"nothing in it matches {', '.join(sorted(unmatched))}")
    return sorted(set(written))


def damaged(archive: Path, why: str) -> DamagedArchive:
    """The archive cannot be used."""
    return DamagedArchive(
        f"{archive.name} cannot be extracted", why, "fetch again; if it stays so, tell the plugin's author"
    )


@contextmanager
def _members(archive: Path, scratch: Path) -> Iterator[Iterator[tuple[str, Opener]]]:
    """Every file of an archive: its path inside it, and what opens it."""
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
    elif archive.suffix == ".deb":
        with tempfile.TemporaryFile(dir=scratch) as tree:
            _unpack_deb(archive, tree)
            with tarfile.open(fileobj=tree) as tar:
                yield _tar_members(tar)
    else:
        with tarfile.open(archive) as tar:
            yield _tar_members(tar)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[tuple[str, Opener]]:
    for info in opened.infolist():
        if not info.is_dir():
            linked = (info.external_attr >> 16) & _TYPE == _SYMLINK
            yield info.filename, _nothing if linked else partial(opened.open, info)


def _tar_members(opened: tarfile.TarFile) -> Iterator[tuple[str, Opener]]:
    for info in opened.getmembers():
        if info.isfile() or info.issym() or info.islnk():
            yield info.name.removeprefix("./"), partial(_open_member, opened, info)


def _nothing() -> None:
    """What a link in a zip opens: its target is not followed."""


def _open_member(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes] | None:
    """A file, or the member of the same archive that a link names; None for a link to anything else."""
    try:
        return opened.extractfile(info)
    except KeyError:
        return None


def _unpack_deb(archive: Path, tree: IO[bytes]) -> None:
    """Write the file tree of a Debian package as a tar file."""
    program = shutil.which("dpkg-deb")
    if program is None:
        raise ClientMissing(f"{archive.name} cannot be extracted", "dpkg-deb is not installed", "install dpkg")
    done = subprocess.run([program, "--fsys-tarfile", str(archive)], stdout=tree, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise damaged(archive, f"dpkg-deb: {done.stderr.decode(errors='replace').strip()}")
    tree.seek(0)


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in path.parts[0]:
        raise _unsafe(archive, name, "leads out of the archive")
    return path


def _unsafe(archive: Path, name: str, why: str) -> DamagedArchive:
    return DamagedArchive(
        f"{archive.name} is refused: {name!r} {why}",
        "nothing of it was kept",
        "tell the plugin's author; do not use it",
    )
