"""Emoji as text and as pictures: classes, and an image and a text that find each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import kdbench
from kdbench_modalities.artists import Artist, read_artist
from kdbench_modalities.emojis import Emoji, read_emojis
from kdbench_modalities.families import families
from kdbench_modalities.pictures import DRAWN, SIDE, draw
from kdbench_modalities.sources import ARTISTS, EMOJIBASE, LITE0, LITE0_FILE
from kdbench_modalities.words import bags

LANGUAGES = ("en", "zh")
VIEWS = {"en": "text", "zh": "text-zh"}
BAG = 2048
LEAST_FAMILIES = 10
"""Of a subgroup that is a class of its own: fewer would leave parts of the split without any."""
MAX_TOKENS = 64
"""Of a label, as MiniLM reads it; none has as many."""
_VERSION = 1
"""Of the pictures and features; another number and they are made again."""
_SOURCE = "emojibase-data 17.0.0; drawings of Noto, Twemoji, OpenMoji and Fluent Emoji as Iconify packs them"
_LICENCE = "MIT (emojibase, Fluent), Apache-2.0 (Noto), CC BY 4.0 (Twemoji), CC BY-SA 4.0 (OpenMoji)"


@dataclass(frozen=True)
class Places:
    """The directories of emojibase-data and of each icon set, and the file of the encoder's weights."""

    emojibase: Path
    artists: Mapping[str, Path]
    weights: Path


def emoji() -> kdbench.Data:
    """Emoji of eight groups (smileys, people, animals, food, travel, activities, objects, symbols), four drawings each.

    Views: "image", (3, 32, 32) bytes; "image-features", (1280,), EfficientNet-Lite0's of the drawing at 128x128;
    "text" and "text-zh", (2048,), hashed bags of the English and the Chinese label and tags, the same for the four
    drawings. An item is one drawing. Emoji that are variants of one another are one group, on one side of the split.

    Raises: DataNotAvailable, InvalidData.
    """
    return read(_fetched())


def emoji_subgroups() -> kdbench.Data:
    """The emoji of every subgroup ("cat-face", "drink", ...) with at least ten families; views as in `emoji`."""
    return read(_fetched(), classes="subgroup")


def emoji_retrieval() -> kdbench.Data:
    """A drawing has to find its emoji's English label among those of others: all-MiniLM-L6-v2's embeddings, (384,).

    Views as in `emoji`. The four drawings of an emoji have one target.

    Raises: DataNotAvailable, InvalidData; PluginError without transformers.
    """
    from kdbench_text.sentences import minilm, minilm_directory
    from kdbench_text.sources import MINILM

    places, encoder = _fetched(), minilm_directory()
    labels = [one.label for one in _emojis(places)[0]]
    parts = [_VERSION, MINILM.sha256, labels]
    found = kdbench.remember("emoji/minilm", parts, lambda: {"targets": minilm(labels, encoder, MAX_TOKENS)})
    return read(places, targets=found["targets"])


def _fetched() -> Places:
    return Places(
        kdbench.source_path(EMOJIBASE) / "package",
        {name: kdbench.source_path(source) / "package" for name, source in ARTISTS.items()},
        kdbench.source_path(LITE0) / LITE0_FILE,
    )


def read(
    places: Places,
    *,
    classes: str = "group",
    languages: Sequence[str] = LANGUAGES,
    least_families: int = LEAST_FAMILIES,
    targets: np.ndarray | None = None,
) -> kdbench.Data:
    """The emoji that every artist drew.

    Args:
        classes: "group", or "subgroup" for those with at least `least_families` families; others are left out.
        languages: the first gives labels; each is a view ("text" for English, else "text-LANGUAGE").
        targets: one row for each emoji that every artist drew: the dataset is then of retrieval.

    Raises: DataNotAvailable, InvalidData.
    """
    emojis, artists = _emojis(places, languages)
    found = _pictures(emojis, artists, places.weights)
    family = families(emojis, found["image"])
    kept = np.ones(len(emojis), dtype=bool)
    names = [one.group if classes == "group" else one.subgroup for one in emojis]
    if classes == "subgroup":
        counts = {name: len({f for f, n in zip(family, names, strict=True) if n == name}) for name in set(names)}
        kept = np.array([counts[name] >= least_families for name in names])
        if not kept.any():
            raise kdbench.InvalidData(
                f"dataset 'emoji-subgroups': no subgroup has {least_families} families",
                f"{len(counts)} subgroups, at most {max(counts.values())} families",
            )
    chosen = np.flatnonzero(kept)
    names = [names[number] for number in chosen]
    order = list(dict.fromkeys(names))  # as emojibase has them
    each = len(artists)
    bag = {
        VIEWS.get(language, f"text-{language}"): bags([emojis[number].texts[language] for number in chosen], BAG)
        for language in languages
    }
    labels = np.array([order.index(name) for name in names]) if targets is None else chosen
    return kdbench.Data(
        {
            "image": found["image"][chosen].reshape(-1, 3, SIDE, SIDE),
            "image-features": found["features"][chosen].reshape(len(chosen) * each, -1),
            **{view: np.repeat(rows, each, axis=0) for view, rows in bag.items()},
        },
        np.repeat(labels, each),
        order if targets is None else [],
        task="multiclass" if targets is None else "retrieval",
        groups=np.repeat(family[chosen], each),
        preprocess={"image": "image", "image-features": "standardize", **dict.fromkeys(bag, "none")},
        targets=None if targets is None else np.repeat(targets[chosen], each, axis=0),
        source=_SOURCE,
        licence=_LICENCE,
    )


def _emojis(places: Places, languages: Sequence[str] = LANGUAGES) -> tuple[list[Emoji], list[Artist]]:
    artists = [read_artist(name, directory) for name, directory in places.artists.items()]
    known = read_emojis(places.emojibase, languages)
    emojis = [one for one in known if all(artist.drawing(one) for artist in artists)]
    if not emojis:
        raise kdbench.InvalidData(
            "no emoji was drawn by every artist", f"{len(known)} emoji; icon sets: {', '.join(places.artists)}"
        )
    return emojis, artists


def _pictures(emojis: Sequence[Emoji], artists: Sequence[Artist], weights: Path) -> dict[str, np.ndarray]:
    from importlib.metadata import version

    parts = {
        "version": _VERSION,
        "sizes": [SIDE, DRAWN],
        "resvg": version("resvg-py"),
        "drawings": [[one.hexcode, *(artist.drawing(one) for artist in artists)] for one in emojis],
        "sets": {artist.name: _content(artist.directory / "icons.json") for artist in artists},
        "weights": _content(weights),
    }
    return kdbench.remember("emoji/pictures", parts, lambda: draw(emojis, artists, weights))


def _content(path: Path) -> str:
    """SHA-256 of a file, hex. Raises: DataNotAvailable."""
    from hashlib import file_digest

    if not path.is_file():
        raise kdbench.DataNotAvailable(
            "dataset 'emoji' is not on this machine", f"there is no {path}", "kdbench data fetch emoji"
        )
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
