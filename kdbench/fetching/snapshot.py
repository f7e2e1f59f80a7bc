"""Files of a dataset of the hub: of one commit, and of the same commit and content ever after."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from kdbench.durable import remove
from kdbench.errors import ClientMissing, DamagedArchive, FetchError, VersionGone, WrongChecksum
from kdbench.fetching import cache, hub_files
from kdbench.fetching.clients import Call, Report, carry_out, has_distribution
from kdbench.fetching.content import sha256_of
from kdbench.fetching.sources import Source

_LIBRARIES = ("datasets", "huggingface_hub")


class _Came(msgspec.Struct, frozen=True):
    """What `hub_files` answers. `files`: the SHA-256 that the hub states of each, where it states one."""

    commit: str
    files: dict[str, str | None]


def take(source: Source, scratch: Path, made: Path, report: Report) -> cache.Manifest:
    """Put the files of a source into the directory `made`, each at its path in the repository.

    Where the source was fetched before, the same commit is asked for, and each file must be what it was. What has come
    is kept where it does not all come, and the next call goes on from there.

    Raises: ClientMissing, Offline, VersionGone, WrongChecksum, DamagedArchive, FetchError; OSError where the cache
        cannot be written.
    """
    if not all(map(has_distribution, _LIBRARIES)):
        raise ClientMissing(
            f"{source} cannot be fetched", "the library 'datasets' is not installed", "pip install 'kdbench[hub]'"
        )
    held, kept = _held(source), cache.downloads(source)
    kept.mkdir(parents=True, exist_ok=True)
    came = _download(source, held, kept, scratch, report)
    files = {}
    for name, stated in came.files.items():
        files[name] = cache.File((kept / name).stat().st_size, sha256_of(kept / name))
        if stated not in {None, files[name].sha256}:
            remove(kept / name)
            raise _other_content(source, name, f"the hub states sha256 {stated}", files[name].sha256)
    if held is not None and (changed := _changed(held.files, files)):
        remove(kept / changed[0])
        raise _other_content(source, *changed)
    for name in files:
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(kept / name, path)
    return cache.Manifest(source, files, datetime.now(UTC).isoformat(timespec="seconds"), came.commit)


def _held(source: Source) -> cache.Manifest | None:
    """What the source was when it came; None where it did not, or where its manifest is damaged."""
    try:
        return cache.manifest(source)
    except FetchError:
        return None


def _download(source: Source, held: cache.Manifest | None, kept: Path, scratch: Path, report: Report) -> _Came:
    revision, answer = held.commit if held else source.version, scratch / "answer.json"
    call = Call(
        [sys.executable, "-P", hub_files.__file__, source.name, revision, str(kept), str(answer), *source.files],
        ["hf", "download", source.name, "--repo-type", "dataset", "--revision", revision],
        {"HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )
    try:
        carry_out(source, call, kept, scratch, lambda: report(cache.bytes_below(kept)))
    except VersionGone as error:
        if held is None:
            raise
        fix = f"to take what {source.version} is now: remove {cache.directory(source)}, and fetch again"
        raise VersionGone(f"{source}: the commit that was fetched before is gone", error.why, fix) from error
    came = msgspec.json.decode(answer.read_bytes(), type=_Came)
    unmatched = [glob for glob in source.files if not any(fnmatchcase(name, glob) for name in came.files)]
    if unmatched:
        raise DamagedArchive(
            f"{source} lacks what is wanted of it",
            f"nothing in commit {came.commit} matches {', '.join(unmatched)}",
            "tell the plugin's author",
        )
    return came


def _changed(before: dict[str, cache.File], now: dict[str, cache.File]) -> tuple[str, str, str] | None:
    """The first file that differs: its name, what it was, what it is."""
    for name in sorted(before.keys() | now.keys()):
        was, found = before.get(name), now.get(name)
        if was != found:
            expected = f"sha256 {was.sha256} came before" if was else "it did not come before"
            return name, expected, found.sha256 if found else "no such file"
    return None


def _other_content(source: Source, name: str, expected: str, found: str) -> FetchError:
    return WrongChecksum(
        f"{source}: {name} is not what it should be",
        f"{expected}, found {found}; it was not kept",
        "fetch again; if it stays so the hub serves another file: tell the plugin's author, and do not use it",
    )
