"""Which datasets and models have data to fetch, and what of it is on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from kdbench.catalog import Catalog, Entry, Kind
from kdbench.errors import DataNotAvailable, FetchError, UnknownName
from kdbench.fetching import cache
from kdbench.fetching.sources import Source
from kdbench.names import did_you_mean

KINDS: tuple[Kind, ...] = ("dataset", "teacher", "student")


@dataclass(frozen=True)
class Held:
    """One source of one dataset or model.

    Args:
        bytes: that it takes on this machine, 0 where it is not here.
        commit: of the hub, that it was fetched at; "" where it is not here, of an archive, or of a damaged manifest.
    """

    entry: Entry
    source: Source
    here: bool
    bytes: int
    commit: str


def fetched_entries(catalog: Catalog) -> list[Entry]:
    """Everything registered that declares sources."""
    return [entry for kind in KINDS for entry in catalog.entries(kind) if entry.sources]


def held(entries: Iterable[Entry]) -> list[Held]:
    """The sources of entries, in their order."""
    rows = []
    for entry in entries:
        for source in entry.sources:
            here = cache.is_here(source)
            size = cache.bytes_below(cache.directory(source)) if here else 0
            rows.append(Held(entry, source, here, size, _commit(source) if here and source.of_hub else ""))
    return rows


def _commit(source: Source) -> str:
    with suppress(FetchError):  # `kdbench data verify` tells of a damaged manifest
        return cache.manifest(source).commit
    return ""


def missing(entry: Entry) -> list[Source]:
    """The sources of an entry that were not fetched."""
    return [source for source in entry.sources if not cache.is_here(source)]


def fetch_command(name: str) -> str:
    """What a person types to get the data of a dataset or model."""
    return f"kdbench data fetch {name}"


def way_to_get(entry: Entry, error: DataNotAvailable) -> str:
    """What a person does where a dataset's factory has not found it: the factory's word, if that names the command."""
    command = fetch_command(entry.name)
    return command if missing(entry) and command not in error.fix else error.fix


def named(catalog: Catalog, names: Iterable[str]) -> list[Entry]:
    """The entries of the names that have sources; one name may be of a dataset and of a model.

    Raises: UnknownName for what nothing registered; DataNotAvailable for what kdbench cannot fetch.
    """
    known = {entry.name for kind in KINDS for entry in catalog.entries(kind)}
    found: dict[tuple[str, str], Entry] = {}
    for name in names:
        plain = name if name in known else name.partition(":")[0]
        entries = [entry for kind in KINDS for entry in catalog.entries(kind) if entry.name == plain]
        if not entries:
            with_sources = [entry.name for entry in fetched_entries(catalog)]
            raise UnknownName(
                f"unknown dataset or model {name!r}", did_you_mean(name, with_sources), "kdbench data list"
            )
        if not any(entry.sources for entry in entries):
            fix = entries[0].metadata.get("fix", "")
            raise DataNotAvailable(
                f"{entries[0].kind} {name!r} has nothing that kdbench fetches",
                "" if fix else "what it needs comes with its plugin",
                fix,
            )
        found |= {(entry.kind, entry.name): entry for entry in entries if entry.sources}
    return list(found.values())
