"""Which emoji are variants of one another, so that none is in test while its twin is in train."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

import numpy as np

from kdbench_modalities.emojis import Emoji

_JOINERS = {"200D", "FE0F", "2640", "2642", "27A1"}  # zero-width joiner, emoji style, woman, man, facing right
_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
_HAIR = {"1F9B0", "1F9B1", "1F9B2", "1F9B3"}
_PEOPLE = {
    "adult": {"1F468", "1F469", "1F9D1"},
    "child": {"1F466", "1F467", "1F9D2"},
    "old": {"1F474", "1F475", "1F9D3"},
    "royal": {"1F934", "1F478", "1FAC5"},
    "dancer": {"1F483", "1F57A"},
    "claus": {"1F385", "1F936"},
}
_PERSON = {code: name for name, codes in _PEOPLE.items() for code in codes}
_VARIANT_WORDS = re.compile(
    r"\b(?:man|men|woman|women|person|people|male|female"
    r"|red|orange|yellow|green|blue|light|purple|brown|black|white|gr[ae]y|pink"
    r"|large|medium|small|left|right|up|down|upwards|downwards|facing"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|waxing|waning|first|last|quarter|crescent|gibbous|full|new)\b|:.*"
)


def families(emojis: Sequence[Emoji], pictures: np.ndarray | None = None) -> np.ndarray:
    """A number for each emoji, shape (N,), int64, equal for variants of one emoji.

    Variants are those whose code points agree without skin tone, hair, gender and direction; whose English labels agree
    without the words for gender, colour, size, direction, hour and moon phase and without what follows a colon; and
    those whose pictures are the same for an artist (`pictures`, shape (N, artists, ...)). What is a variant of a
    variant is one too.
    """
    parent = list(range(len(emojis)))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    first: dict[Hashable, int] = {}
    for number, emoji in enumerate(emojis):
        keys: list[Hashable] = [("codes", _codes(emoji.hexcode))]
        if name := _name(emoji.label):
            keys.append(("name", name))
        if pictures is not None:
            keys += [("picture", artist, one.tobytes()) for artist, one in enumerate(pictures[number])]
        for key in keys:
            parent[root(number)] = root(first.setdefault(key, number))
    return np.unique([root(number) for number in range(len(emojis))], return_inverse=True)[1].astype(np.int64)


def _codes(hexcode: str) -> tuple[str, ...]:
    codes = [code for code in hexcode.split("-") if code not in _JOINERS | _TONES | _HAIR]
    return tuple(_PERSON.get(code, code) for code in codes)


def _name(label: str) -> str:
    return " ".join(re.findall(r"[^\W\d_]+", _VARIANT_WORDS.sub(" ", label.lower().replace("-", " "))))
