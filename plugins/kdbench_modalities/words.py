"""Texts as hashed bags of words and of pieces of words: no vocabulary, nothing fitted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np

_WORD = re.compile(r"[㐀-鿿]+|[^\W_㐀-鿿]+")


def bags(texts: Sequence[str], size: int) -> np.ndarray:
    """Counts of n-grams by the remainder of their CRC-32, as 1 + ln(count), rows at unit length: (N, size), float32.

    Of a word its whole and its pieces of three to five letters with both ends marked; of a run of Chinese characters
    its characters and pairs. A text without either is a row of zeros.
    """
    found = np.zeros((len(texts), size), dtype=np.float32)
    for row, text in enumerate(texts):
        for gram, count in Counter(grams(text)).items():
            found[row, crc32(gram.encode()) % size] += 1 + np.log(count)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(lengths > 0, lengths, 1)


def grams(text: str) -> Iterator[str]:
    """The n-grams of a text, in order, repeated as often as they are there."""
    for word in _WORD.findall(text.lower()):
        if "㐀" <= word[0] <= "鿿":
            yield from word
            yield from map("".join, pairwise(word))
        else:
            marked = f"<{word}>"
            yield marked
            for length in range(3, min(6, len(marked))):
                yield from (marked[start : start + length] for start in range(len(marked) - length + 1))
