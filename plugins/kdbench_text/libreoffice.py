"""LibreOffice's help in English: which of six applications a paragraph is about."""

from __future__ import annotations

from pathlib import Path

from kdbench_text import help as help_pages
from kdbench_text import tokens

NAME = "libreoffice-modules"
LENGTH = 48
FIX = "kdbench data fetch libreoffice-modules"
LEAST_WORDS = 3
MINILM_TOKENS = 32


def modules(directory: Path) -> tuple[list[str], list[int], list[str]]:
    """Paragraphs of at least three words, modules and pages (the groups) below `.../help/en-US`.

    One of each paragraph is kept, punctuation aside, none of one that stands in two modules; so none stands in two
    pages. Raises: DataNotAvailable, InvalidData.
    """
    texts, labels, groups = [], [], []
    for page, path in help_pages.pages(NAME, directory, FIX).items():
        for text in help_pages.paragraphs(NAME, path, f"{page}.html").values():
            if len(tokens.plain(text).split()) >= LEAST_WORDS:
                texts.append(text)
                labels.append(help_pages.MODULES.index(page.partition("/")[0]))
                groups.append(page)
    kept = tokens.one_of_each([tokens.plain(text) for text in texts], labels)
    return [texts[n] for n in kept], [labels[n] for n in kept], [groups[n] for n in kept]
