"""Every emoji as each artist drew it, as pixels and as features of a frozen network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kdbench_modalities.artists import Artist, Icons
from kdbench_modalities.emojis import Emoji

SIDE = 32
"""Pixels of a side of what students see."""
DRAWN = 128
"""Pixels of a side of what is drawn, which the encoder sees: it was trained at 224, which takes four times as long."""
_BATCH = 32


def draw(emojis: Sequence[Emoji], artists: Sequence[Artist], checkpoint: Path) -> dict[str, np.ndarray]:
    """The "image" (N, A, 3, 32, 32), uint8, on white, and "features" (N, A, 1280), float32, of EfficientNet-Lite0.

    Raises: InvalidData for a drawing that does not render, by set and emoji; what `load_lite0` raises.
    """
    from kdbench_modalities.imagenet import FEATURES, encode, load_lite0

    model = load_lite0(checkpoint)
    images = np.zeros((len(emojis), len(artists), 3, SIDE, SIDE), dtype=np.uint8)
    features = np.zeros((len(emojis), len(artists), FEATURES), dtype=np.float32)
    for number, artist in enumerate(artists):
        icons = artist.icons()
        for start in range(0, len(emojis), _BATCH):
            part = slice(start, start + _BATCH)
            drawn = np.stack(list(_drawn(emojis[part], artist, icons)))
            images[part, number] = np.stack([shrink(one, SIDE) for one in drawn])
            features[part, number] = encode(model, drawn)
    return {"image": images, "features": features}


def _drawn(emojis: Sequence[Emoji], artist: Artist, icons: Icons) -> Iterator[np.ndarray]:
    for emoji in emojis:
        drawing = artist.drawing(emoji)
        assert drawing is not None, f"{artist.name} has not drawn {emoji.hexcode}"
        yield icons.pixels(drawing, emoji, DRAWN)


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """A square picture (3, S, S), uint8, as means over blocks of pixels: (3, side, side), S a multiple of side."""
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    return np.asarray(image.reduce(picture.shape[-1] // side)).transpose(2, 0, 1)
