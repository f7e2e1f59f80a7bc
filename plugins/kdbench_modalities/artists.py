"""Icon sets as Iconify packs them, and their drawings as pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import kdbench
from kdbench_modalities.emojis import Emoji

_FETCH = "kdbench data fetch emoji"


@dataclass(frozen=True)
class Artist:
    """One icon set: `chars` names the drawing of a code point sequence (`chars.json`); drawings are read when asked."""

    name: str
    directory: Path
    chars: dict[str, str]

    def drawing(self, emoji: Emoji) -> str | None:
        """The name of the emoji's drawing; None where the artist has not drawn it."""
        code = emoji.hexcode.lower()
        return self.chars.get(code) or self.chars.get(code.replace("-fe0f", ""))

    def icons(self) -> Icons:
        """Every drawing: tens of megabytes of JSON. Raises: DataNotAvailable, InvalidData."""
        found = _json(self.directory / "icons.json")
        if not isinstance(found, dict) or not isinstance(found.get("icons"), dict):
            raise kdbench.InvalidData(f"{self.directory / 'icons.json'} is not an icon set", "it has no icons", _FETCH)
        return Icons(self.name, found)


def read_artist(name: str, directory: Path) -> Artist:
    """The icon set of a directory with `chars.json` and `icons.json`. Raises: DataNotAvailable, InvalidData."""
    return Artist(name, directory, _json(directory / "chars.json"))


@dataclass(frozen=True)
class Icons:
    """The drawings of a set, as `icons.json` has them."""

    set_name: str
    found: dict[str, Any]

    def svg(self, drawing: str, emoji: Emoji) -> str:
        """The drawing as an SVG file. Raises: InvalidData naming the set and the emoji where it is missing."""
        icon = self.found["icons"].get(drawing)
        if not isinstance(icon, dict) or not isinstance(icon.get("body"), str):
            raise kdbench.InvalidData(
                f"icon set {self.set_name!r} has no drawing of emoji {emoji.hexcode} ({emoji.label})",
                f"its chars.json calls it {drawing!r}; its icons.json has none of that name",
                _FETCH,
            )
        left, top = (icon.get(side, self.found.get(side, 0)) for side in ("left", "top"))
        width, height = (icon.get(side, self.found.get(side, 16)) for side in ("width", "height"))
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
        )

    def pixels(self, drawing: str, emoji: Emoji, size: int) -> np.ndarray:
        """The drawing on white, (3, size, size), uint8; one that is not square is centred.

        Raises: InvalidData naming the set and the emoji where it does not render, or renders to nothing.
        """
        import resvg_py

        what = f"icon set {self.set_name!r}: the drawing of emoji {emoji.hexcode} ({emoji.label})"
        try:
            png = resvg_py.svg_to_bytes(
                svg_string=self.svg(drawing, emoji), width=size, height=size, skip_system_fonts=True
            )
            image = Image.open(BytesIO(bytes(png))).convert("RGBA")
        except (ValueError, RuntimeError, OSError) as error:
            raise kdbench.InvalidData(f"{what} does not render", f"icon {drawing!r}: {error}", _FETCH) from error
        if image.getchannel("A").getextrema() == (0, 0):
            raise kdbench.InvalidData(f"{what} renders to nothing", f"icon {drawing!r} has no visible shape", _FETCH)
        canvas = Image.new("RGBA", (size, size), "white")
        canvas.alpha_composite(image, tuple((size - side) // 2 for side in image.size))
        return np.asarray(canvas.convert("RGB")).transpose(2, 0, 1)


def _json(path: Path) -> Any:
    if not path.is_file():
        raise kdbench.DataNotAvailable("dataset 'emoji' is not on this machine", f"there is no {path}", _FETCH)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are
        raise kdbench.InvalidData(f"{path} is damaged", str(error), _FETCH) from error
