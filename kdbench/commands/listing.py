"""`kdbench list` and `kdbench plugins`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kdbench.catalog import Catalog, Entry, Kind
from kdbench.errors import KdbenchError
from kdbench.fetching.holdings import fetch_command, missing
from kdbench.plugins import Plugin, Plugins
from kdbench.select import suites

_KINDS: dict[str, Kind] = {
    "datasets": "dataset",
    "teachers": "teacher",
    "students": "student",
    "methods": "method",
    "recipes": "recipe",
    "combos": "combo",
}
_COLUMNS = {
    "datasets": ("task", "modality", "items", "classes", "title"),
    "teachers": ("family", "params", "source"),
    "students": ("family", "params", "source"),
    "methods": ("family", "source", "summary"),
    "recipes": ("summary",),
    "combos": ("suites",),
}


def list_command(catalog: Catalog, what: str | None, *, family: str | None, as_json: bool) -> str:
    """The registered things of one kind, or of all, as aligned text or JSON."""
    kinds = [what] if what else [*_KINDS, "suites"]
    if as_json:
        listed = {
            kind: _suite_rows(catalog) if kind == "suites" else _described(catalog, kind, family) for kind in kinds
        }
        return as_json_text(listed[what] if what else listed)
    blocks = []
    for kind in kinds:
        if kind == "suites":
            rows = [[row["name"], f"{len(row['combos'])} combos"] for row in _suite_rows(catalog)]
        else:
            rows = [_row(entry, _COLUMNS[kind]) for entry in _entries(catalog, kind, family)]
        grouped = what == "methods" and family is None
        table = (_by_family(catalog) if grouped else "\n".join(aligned(rows))) or "none"
        blocks.append(table if what else f"{kind}:\n" + "\n".join(f"  {line}" for line in table.splitlines()))
    return "\n".join(blocks)


def plugins_command(plugins: Plugins, *, as_json: bool) -> str:
    """Every plugin: where it is from, what it registered, what is wrong with it."""
    if as_json:
        return as_json_text([_plugin(plugin, plugins.catalog) for plugin in plugins.plugins])
    lines = []
    for plugin in plugins.plugins:
        described = _plugin(plugin, plugins.catalog)
        lines.append(f"{plugin.name}  {plugin.distribution} {plugin.version}  {described['state']}")
        for kind, names in described["registered"].items():
            lines.append(f"  {kind}: {_shortened(names)}")
        lines.extend(f"  {problem}" for problem in plugin.problems)
        lines.extend(f"  unavailable: {row['name']}: {row['why']}" for row in described["unavailable"])
    return "\n".join(lines)


def _plugin(plugin: Plugin, catalog: Catalog) -> dict[str, Any]:
    registered: dict[str, list[str]] = {}
    unavailable = {}
    for entry in catalog.of_plugin(plugin.name):
        registered.setdefault(f"{entry.kind}s", []).append(entry.name)
        if entry.missing:
            why = f"needs {', '.join(entry.missing)}; {entry.install_command}"
            unavailable[entry.name] = {"name": entry.name, "why": why}
    state = "blocked" if plugin.blocked else "loaded" if plugin.loaded else "unavailable"
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": state,
        "registered": registered,
        "unavailable": list(unavailable.values()),
        "problems": plugin.problems,
        "fix": plugin.fix,
    }


def _described(catalog: Catalog, kind: str, family: str | None) -> list[dict[str, Any]]:
    return [_details(entry) for entry in _entries(catalog, kind, family)]


def _details(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "plugin": entry.plugin, **_plain(entry.metadata)}
    if entry.missing:
        return row | {"unavailable": entry.install_command}
    if entry.kind in {"method", "recipe", "combo"}:
        try:
            value = entry.load()
        except KdbenchError as error:
            return row | {"unavailable": str(error)}
        if entry.kind == "method":
            row |= {"parameters": value.parameter_schema(), "tasks": list(value.tasks)}
        else:
            row |= msgspec.to_builtins(value)
    return row


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(value, bool | int | float | str | list | tuple) else repr(value)
        for key, value in metadata.items()
    }


def _entries(catalog: Catalog, kind: str, family: str | None) -> Iterable[Entry]:
    entries = catalog.entries(_KINDS[kind])
    return [entry for entry in entries if family is None or entry.metadata.get("family") == family]


def _suite_rows(catalog: Catalog) -> list[dict[str, Any]]:
    return [{"name": name, "combos": combos} for name, combos in suites(catalog).items()]


def _row(entry: Entry, columns: tuple[str, ...]) -> list[str]:
    name = f"{entry.name}:..." if entry.metadata.get("scheme") else entry.name
    values = (entry.metadata.get(column, "") for column in columns)
    cells = [", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) for value in values]
    return [name, *cells, _lacks(entry)]


def _lacks(entry: Entry) -> str:
    if entry.missing:
        return f"(unavailable: {entry.install_command})"
    return f"(not fetched: {fetch_command(entry.name)})" if missing(entry) else ""


def _by_family(catalog: Catalog) -> str:
    """Every method under its family, with source and one line each; the columns of all families are aligned."""
    families: dict[str, list[Entry]] = {}
    for entry in catalog.entries("method"):
        families.setdefault(str(entry.metadata.get("family") or "other"), []).append(entry)
    ordered = [entry for entries in families.values() for entry in entries]
    lines = iter(aligned([_row(entry, ("source", "summary")) for entry in ordered]))
    blocks = ["\n".join([f"{family}:", *(f"  {next(lines)}" for _ in members)]) for family, members in families.items()]
    return "\n".join(blocks)


def aligned(rows: list[list[str]]) -> list[str]:
    """One line for each row of cells, in columns; a column that is empty in every row is left out."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip() for row in rows
    ]


def _shortened(names: list[str], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def as_json_text(value: Any) -> str:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
