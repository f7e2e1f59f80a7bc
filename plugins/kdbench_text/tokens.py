"""Text as arrays of token indices, by hashing: nothing is fitted, so that no split can tell another anything.

A token's index is 1 + CRC-32 of its UTF-8 bytes modulo (buckets - 1); 0 is padding. Tokens whose hashes collide share
an embedding.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import kdbench

PADDING = 0
BUCKETS = {"words": 1 << 14, "ngrams": 1 << 16, "characters": 1 << 13, "wordpieces": 30522}
"""Views of text, and how many indices each has: words, words or characters with their bigrams, characters, and those
of BERT's uncased English vocabulary (Devlin et al., 2019), which are not hashed.

Where a dataset has several languages the language follows: "words-en".
"""

_WORD = re.compile(r"\w+|[^\w\s]")
_NOT_WORD = re.compile(r"[\W_]+")
Tokenizer = Callable[[str], list[str]]


def words(text: str) -> list[str]:
    """Words and single other signs, in lower case."""
    return _WORD.findall(text.lower())


def characters(text: str) -> list[str]:
    """Every character but white space, in lower case."""
    return list("".join(text.lower().split()))


def bucket(token: str, buckets: int) -> int:
    """The token's index, in [1, buckets)."""
    return 1 + zlib.crc32(token.encode()) % (buckets - 1)


def buckets_of(view: str) -> int | None:
    """How many indices a view of tokens has; None for any other view."""
    return BUCKETS.get(view.partition("-")[0])


def indices(rows: Iterable[Sequence[str]], length: int, view: str) -> NDArray[np.int32]:
    """Token indices (N, length) of a view, the first `length` tokens of each row, padded with 0 on the right."""
    known: dict[str, int] = {}
    buckets = BUCKETS[view]
    found = [
        [known[token] if token in known else known.setdefault(token, bucket(token, buckets)) for token in row[:length]]
        for row in rows
    ]
    array = np.full((len(found), length), PADDING, dtype=np.int32)
    for number, row in enumerate(found):
        array[number, : len(row)] = row
    return array


def views(texts: Iterable[str], length: int, tokenize: Tokenizer = words) -> dict[str, NDArray[np.int32]]:
    """The first `length` tokens of each text as two views: alone, (N, length), and with their bigrams.

    The first is "words", or "characters" for that tokeniser; the second is "ngrams", (N, 2 * length - 1).
    """
    rows = [tokenize(text)[:length] for text in texts]
    single = "characters" if tokenize is characters else "words"
    return {
        single: indices(rows, length, single),
        "ngrams": indices([with_bigrams(row) for row in rows], 2 * length - 1, "ngrams"),
    }


def with_bigrams(row: Sequence[str]) -> list[str]:
    """The tokens, then each two that follow each other."""
    return [*row, *(f"{one} {other}" for one, other in pairwise(row))]


def plain(text: str) -> str:
    """The text in lower case, its words alone, one space between them: texts that agree in it are near-duplicates."""
    return _NOT_WORD.sub(" ", text.lower()).strip()


def one_of_each(keys: Sequence[Hashable], labels: Sequence[object]) -> list[int]:
    """Positions of the items to keep: the first of those with one key, none of a key whose labels differ."""
    first: dict[Hashable, int] = {}
    unclear = set()
    for number, key in enumerate(keys):
        if labels[first.setdefault(key, number)] != labels[number]:
            unclear.add(key)
    return [number for key, number in first.items() if key not in unclear]


def check_texts(dataset: str, texts: Iterable[tuple[str, str]]) -> None:
    """Refuse the first text that holds nothing, of pairs (where it is, text). Raises: InvalidData."""
    for place, text in texts:
        if not text.strip():
            raise kdbench.InvalidData(
                f"dataset {dataset!r}: the text of {place} is empty", fix="fetch the data again, or remove the row"
            )


def decoded(dataset: str, content: bytes, place: str, encoding: str = "utf-8") -> str:
    """The text of a file. Raises: InvalidData naming the line that is not of that encoding."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: {place}, line {line}, is not {encoding}",
            f"byte {content[error.start]:#04x} at offset {error.start}",
            "fetch the data again, or save the file in that encoding",
        ) from error
