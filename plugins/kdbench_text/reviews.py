"""Reviews of books, hotels and goods in Chinese: negative or positive."""

from __future__ import annotations

from pathlib import Path

import kdbench
from kdbench_text import tokens

NAME = "chinese-reviews"
LENGTH = 96
CLASSES = ("negative", "positive")
FILES = ("neg.txt", "pos.txt")


def reviews(directory: Path) -> tuple[list[str], list[int]]:
    """Texts and classes of neg.txt and pos.txt: one review a line, UTF-8; blank lines are none.

    One of each review is kept, punctuation aside, none of one in both files. Raises: DataNotAvailable, InvalidData.
    """
    texts: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(FILES):
        path = directory / name
        if not path.is_file():
            raise kdbench.DataNotAvailable(
                f"dataset {NAME!r} is not complete", f"there is no {path}", "kdbench data fetch chinese-reviews"
            )
        lines = [line.strip() for line in tokens.decoded(NAME, path.read_bytes(), name).split("\n")]
        found = [line for line in lines if tokens.plain(line)]
        if not found:
            raise kdbench.InvalidData(f"dataset {NAME!r}: {name} holds no review")
        texts += found
        labels += [label] * len(found)
    kept = tokens.one_of_each([tokens.plain(text).replace(" ", "") for text in texts], labels)
    return [texts[n] for n in kept], [labels[n] for n in kept]
