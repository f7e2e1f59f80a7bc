"""Writes emojibase and icon sets of a few emoji, in their packages' formats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GROUPS = ["smileys-emotion", "people-body", "component", "animals-nature", "food-drink"]
SUBGROUPS = ["face", "hand", "cat", "fruit"]
SQUARE = '<rect width="8" height="8" fill="#ff0000"/>'


def entry(code: str, label: str, *, group: int | None = 3, subgroup: int = 2, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"hexcode": code, "label": label, "tags": [f"tag of {label}"], "type": 1, **more}
    return found if group is None else {**found, "group": group, "subgroup": subgroup}


def write_emojibase(directory: Path, languages: Mapping[str, Sequence[dict[str, Any]]]) -> Path:
    for language, entries in languages.items():
        (directory / language).mkdir(parents=True, exist_ok=True)
        (directory / language / "data.json").write_text(json.dumps(list(entries), ensure_ascii=False), encoding="utf-8")
    messages = {
        kind: [{"key": key, "message": key, "order": order} for order, key in enumerate(keys)]
        for kind, keys in (("groups", GROUPS), ("subgroups", SUBGROUPS))
    }
    (directory / "en" / "messages.json").write_text(json.dumps(messages))
    return directory


def write_artist(directory: Path, bodies: Mapping[str, str], **icon: Any) -> Path:
    """Icons "icon-HEXCODE" on a grid of 8x8, by hexcode."""
    directory.mkdir(parents=True, exist_ok=True)
    icons = {f"icon-{code}": {"body": body, **icon} for code, body in bodies.items()}
    found = {"prefix": directory.name, "icons": icons, "width": 8, "height": 8}
    (directory / "icons.json").write_text(json.dumps(found))
    (directory / "chars.json").write_text(json.dumps({code.lower(): f"icon-{code}" for code in bodies}))
    return directory


def shade(number: int) -> str:
    """A drawing of its own for every number in [0, 256)."""
    return f'<rect width="8" height="8" fill="rgb({number}, {255 - number}, 90)"/>'
