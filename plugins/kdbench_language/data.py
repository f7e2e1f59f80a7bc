"""Text for language models."""

from __future__ import annotations

import numpy as np

import kdbench

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
LENGTH = 64


def python_topics(characters: int = 160_000) -> kdbench.Data:
    """The language reference behind Python's `help()`, character by character: (N, 64) to the character after each.

    The topics in alphabetical order, up to so many characters of text; a topic never crosses splits, and what its last
    line of 64 lacks is newlines that nobody has to say. The text, and so the fingerprint, is that of the Python in use.
    """
    from pydoc_data.topics import topics

    known = {character: number for number, character in enumerate(ALPHABET)}
    rows, groups, total = [], [], 0
    for group, name in enumerate(sorted(topics)):
        if total >= characters:
            break
        codes = np.array([known.get(character, len(known)) for character in topics[name]])
        count = -(-(len(codes) - 1) // LENGTH)
        padded = np.full(count * LENGTH + 1, -1)
        padded[: len(codes)] = codes
        rows.append(np.stack([padded[:-1], padded[1:]], axis=1).reshape(count, LENGTH, 2))
        groups += [group] * count
        total += len(codes)
    both = np.concatenate(rows)
    inputs, labels = both[..., 0], both[..., 1]
    return kdbench.Data(
        np.where(inputs < 0, 0, inputs),
        np.where(labels < 0, -100, labels),
        [*ALPHABET, UNKNOWN],
        task="language-modeling",
        groups=np.array(groups),
        preprocess="none",
        source="pydoc_data.topics of the Python standard library",
        licence="PSF License Version 2",
    )
