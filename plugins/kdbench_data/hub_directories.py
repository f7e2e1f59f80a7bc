"""Directories that hold a dataset as the hub has it: parquet files, or what `save_to_disk` has written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import kdbench
from kdbench_data import places

_SAVED = ("dataset_dict.json", "state.json")
_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?\.parquet")
"""train-00000-of-00294.parquet; older files have a hash behind it."""


def find(name: str) -> Path | None:
    """The first directory in which the dataset is looked for (`places.candidates`) that holds tables."""
    return next((one for one in places.candidates(name) if holds_tables(one)), None)


def is_saved(directory: Path) -> bool:
    """Whether `save_to_disk` has written it."""
    return any((directory / file).is_file() for file in _SAVED)


def holds_tables(directory: Path) -> bool:
    """Whether it was saved, or holds parquet files: itself, or in a directory of it (data/, or a configuration's)."""
    return is_saved(directory) or any(_tables(directory))


def check_complete(dataset: str, directory: Path, fix: str) -> None:
    """Refuse a directory that lacks parts which the names of others count: of a copy that was broken off, say.

    Raises: InvalidData.
    """
    found: dict[tuple[Path, str, int], set[int]] = {}
    for file in _tables(directory):
        if shard := _SHARD.fullmatch(file.name):
            numbers = found.setdefault((file.parent, shard["split"], int(shard["total"])), set())
            numbers.add(int(shard["number"]))
    for (folder, split, total), numbers in found.items():
        absent = [number for number in range(total) if number not in numbers]
        if absent:
            raise kdbench.InvalidData(
                f"dataset {dataset!r}: {directory} is not complete",
                f"{folder} lacks {len(absent)} of {total} files, {split}-{absent[0]:05d}-of-{total:05d} the first",
                fix,
            )


def unreadable(dataset: str, directory: Path, error: Exception) -> kdbench.InvalidData:
    """What is wrong with a directory that the library cannot load: a damaged file, else what the library says."""
    damaged = _damaged(directory)
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    said = (str(deepest) or repr(deepest)).splitlines()[0]
    return kdbench.InvalidData(
        f"dataset {dataset!r}: {directory} cannot be loaded",
        f"{damaged[0]} is damaged: {damaged[1]}" if damaged else f"the library 'datasets' says: {said}",
        "get it again" if damaged else "check what it holds, or get it again",
    )


def _tables(directory: Path) -> list[Path]:
    return sorted([*directory.glob("*.parquet"), *directory.glob("[!.]*/*.parquet")])


def _damaged(directory: Path) -> tuple[Path, str] | None:
    """The first file whose frame (a parquet footer, an Arrow stream's headers) cannot be read, and why."""
    import pyarrow
    import pyarrow.parquet

    def stream(file: Path) -> None:
        with pyarrow.memory_map(str(file)) as mapped:
            pyarrow.ipc.open_stream(mapped).read_all()  # of what is mapped nothing is copied

    checks: tuple[tuple[str, Callable[[Path], object]], ...] = (
        ("**/*.parquet", pyarrow.parquet.read_metadata),
        ("**/*.arrow", stream),
    )
    for pattern, check in checks:
        for file in sorted(directory.glob(pattern)):
            try:
                check(file)
            except (OSError, pyarrow.ArrowException) as error:
                return file, (str(error) or repr(error)).splitlines()[0]
    return None
