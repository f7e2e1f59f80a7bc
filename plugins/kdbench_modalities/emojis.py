"""The emoji of emojibase: what they are called in several languages, and what group they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kdbench

LEFT_OUT = frozenset({"component", "flags"})
"""Skin tones and hair by themselves, and flags: their pictures are tiles, their names those of countries."""
_REGIONAL = range(0x1F1E6, 0x1F200)
"""The regional indicators, letters that flags are spelt with: the only ones that emojibase has in no group."""


@dataclass(frozen=True)
class Emoji:
    """One emoji.

    Attributes:
        hexcode: its code points, such as "1F44B" or "1F468-200D-1F680".
        group, subgroup: their keys, such as "people-body" and "hand-fingers-open".
        texts: by language, its label and tags, as one text.
    """

    hexcode: str
    group: str
    subgroup: str
    label: str
    texts: Mapping[str, str]


def read_emojis(directory: Path, languages: Sequence[str]) -> list[Emoji]:
    """The emoji of a directory of emojibase-data, in its order, but for flags and components.

    The first language gives `label`. Skin tones are not emoji of their own here.

    Raises: DataNotAvailable where the directory lacks a file; InvalidData for a language that emojibase lacks, an emoji
    without a group or without a label, and a file that cannot be read.
    """
    keys = _group_keys(directory)
    by_language = {language: _entries(directory, language) for language in languages}
    first, *others = by_language
    emojis = []
    for hexcode, entry in by_language[first].items():
        where = f"{directory / first / 'data.json'}: emoji {hexcode} ({entry.get('label') or 'without a label'})"
        group = entry.get("group")
        if group is None and "-" not in hexcode and int(hexcode, 16) in _REGIONAL:
            continue
        if group not in keys["groups"]:
            raise kdbench.InvalidData(f"{where} has no group", f"its group is {group}", _known(keys["groups"]))
        if keys["groups"][group] in LEFT_OUT:
            continue
        if entry.get("subgroup") not in keys["subgroups"]:
            raise kdbench.InvalidData(f"{where} has no subgroup", f"its subgroup is {entry.get('subgroup')}")
        texts = {first: _text(where, entry)}
        for language in others:
            if hexcode not in by_language[language]:
                raise kdbench.InvalidData(f"{where} has no text in language {language!r}", _file(directory, language))
            texts[language] = _text(f"{_file(directory, language)}: emoji {hexcode}", by_language[language][hexcode])
        emojis.append(
            Emoji(hexcode, keys["groups"][group], keys["subgroups"][entry["subgroup"]], entry["label"], texts)
        )
    return emojis


def _group_keys(directory: Path) -> dict[str, dict[int, str]]:
    """By "groups" and "subgroups", the key of each number. English has them whatever languages are asked for."""
    path = directory / "en" / "messages.json"
    found = _json(path)
    try:
        return {kind: {one["order"]: one["key"] for one in found[kind]} for kind in ("groups", "subgroups")}
    except (KeyError, TypeError) as error:
        raise kdbench.InvalidData(f"{path} is not emojibase's", f"{type(error).__name__}: {error}") from error


def _entries(directory: Path, language: str) -> dict[str, dict[str, Any]]:
    if (directory / "en").is_dir() and not (directory / language / "data.json").is_file():
        there = sorted(path.parent.name for path in directory.glob("*/data.json"))
        raise kdbench.InvalidData(
            f"emojibase has no language {language!r}",
            f"there is no {_file(directory, language)}",
            f"its languages here: {', '.join(there) or 'none'}",
        )
    path = directory / language / "data.json"
    entries: dict[str, dict[str, Any]] = {}
    for row, entry in enumerate(_json(path)):
        if not isinstance(entry, dict) or not isinstance(entry.get("hexcode"), str):
            raise kdbench.InvalidData(f"{path}: entry {row} has no hexcode", f"it is {entry!r:.80}")
        entries[entry["hexcode"]] = entry
    return entries


def _json(path: Path) -> Any:
    if not path.is_file():
        raise kdbench.DataNotAvailable(
            "dataset 'emoji' is not on this machine", f"there is no {path}", "kdbench data fetch emoji"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are
        raise kdbench.InvalidData(f"{path} is damaged", str(error), "kdbench data fetch emoji") from error


def _text(where: str, entry: Mapping[str, Any]) -> str:
    label, tags = entry.get("label"), entry.get("tags", [])
    if not isinstance(label, str) or not label.strip():
        raise kdbench.InvalidData(f"{where} has no label", f"its label is {label!r}")
    return " ".join([label, *tags])


def _file(directory: Path, language: str) -> str:
    return str(directory / language / "data.json")


def _known(keys: Mapping[int, str]) -> str:
    return "emojibase's groups: " + ", ".join(f"{number} {key}" for number, key in keys.items())
