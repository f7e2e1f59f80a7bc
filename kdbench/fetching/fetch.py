"""Fetching a source, and looking again at what is there."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kdbench.durable import remove, sync_directory, write_file
from kdbench.errors import DamagedArchive, FetchError
from kdbench.fetching import cache, snapshot
from kdbench.fetching.clients import Report, download, wrong_checksum
from kdbench.fetching.content import sha256_of
from kdbench.fetching.extract import extract
from kdbench.fetching.sources import Source


def fetch(
    source: Source, report: Report = lambda _: None, on_wait: cache.OnWait = lambda: None, *, fresh: bool = False
) -> bool:
    """Have a source on this machine; whether it had to be fetched.

    It appears in one step, complete and verified: killed, offline or failed, nothing half-written is ever seen. A
    process that fetches the same at the same time is waited for.

    Args:
        report: told the bytes that have come, several times a second.
        on_wait: called where another process is fetching it.
        fresh: fetch it again where it is there; what is there serves until then. What is of the hub must come as it
            came before.

    Raises: FetchError, as ClientMissing, Offline, VersionGone, WrongChecksum or DamagedArchive where it is one.
    """
    if cache.is_here(source) and not fresh:
        return False
    name = cache.key(source)
    with cache.locked(name, on_wait), cache.scratch(name) as scratch:
        if cache.is_here(source) and not fresh:
            return False
        take = snapshot.take if source.of_hub else _unpack
        made = scratch / "made"
        try:
            written = take(source, scratch, made / cache.FILES, report)
            write_file(made / cache.MANIFEST, msgspec.json.encode(written))
            final = cache.directory(source)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                os.replace(final, scratch / "old")
            os.replace(made, final)
            sync_directory(final.parent)
        except OSError as error:
            raise cache.unwritable(error) from error
        remove(cache.downloads(source))
    return True


def damage(source: Source) -> list[str]:
    """What is wrong with a source that was fetched, one line a file; empty where every file is as it came."""
    try:
        manifest = cache.manifest(source)
    except FetchError as error:
        return [f"{error.what}: {error.why}"]
    files = cache.directory(source) / cache.FILES
    found = []
    for name, expected in manifest.files.items():
        path = files / name
        try:
            content = sha256_of(path)
        except OSError as error:
            found.append(f"{path}: {error.strerror}")
            continue
        if content != expected.sha256:
            found.append(f"{path}: expected sha256 {expected.sha256}, found {content}")
    return found


def _unpack(source: Source, scratch: Path, made: Path, report: Report) -> cache.Manifest:
    """Extract what is wanted of the verified archive into the directory `made`."""
    archive = _archive(source, scratch, report)
    try:
        names = extract(archive, source.files, made)
    except DamagedArchive:
        remove(archive)
        raise
    files = {name: cache.File((made / name).stat().st_size, sha256_of(made / name)) for name in names}
    return cache.Manifest(source, files, datetime.now(UTC).isoformat(timespec="seconds"))


def _archive(source: Source, scratch: Path, report: Report) -> Path:
    """The verified archive: of an earlier fetch that ended before it was extracted, or downloaded."""
    kept = cache.downloads(source)
    for earlier in kept.glob("*"):
        if sha256_of(earlier) == source.sha256:
            return earlier
        remove(earlier)
    archive = download(source, scratch, report)
    if (found := sha256_of(archive)) != source.sha256:
        raise wrong_checksum(source, found)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        return archive.replace(kept / archive.name)
    except OSError as error:
        raise cache.unwritable(error) from error
