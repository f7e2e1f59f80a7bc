"""English and Chinese paragraphs of LibreOffice's help, aligned by page and paragraph."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import kdbench
from kdbench_text.help import paragraphs

TEXT = "usr/share/libreoffice/help/{language}/text"
"""Where a Debian package `libreoffice-help-*` has a language's pages."""
DATASET = "help-en-zh-mt"


class Pair(NamedTuple):
    """One paragraph in both languages; `file` is its page, `MODULE/.../NAME.html`."""

    file: str
    paragraph: str
    english: str
    chinese: str


def read_pairs(english: Path, chinese: Path) -> list[Pair]:
    """Every paragraph that both packages have, in the order of pages and of the page.

    Of all pages, those that the applications share among them; what is the same in both languages (not translated) is
    left out. A paragraph that is embedded in several pages comes once for each.

    Args:
        english, chinese: the extracted packages `libreoffice-help-en-us` and `libreoffice-help-zh-cn`.

    Raises: DataNotAvailable where a language's directory is missing; InvalidData, naming the page, for one that is not
        UTF-8, and where nothing pairs up.
    """
    roots = _pages_of(english, "en-US"), _pages_of(chinese, "zh-CN")
    pairs = []
    for page in sorted(roots[0].rglob("*.html")):
        file = page.relative_to(roots[0])
        if not (roots[1] / file).is_file():
            continue
        one, other = (paragraphs(DATASET, root / file, f"{root.parent.name}/{file.as_posix()}") for root in roots)
        pairs += [
            Pair(file.as_posix(), name, text, other[name])
            for name, text in one.items()
            if name in other and text != other[name]
        ]
    if not pairs:
        raise kdbench.InvalidData(
            f"dataset {DATASET!r}: no paragraph is in both languages", f"looked in {roots[0]} and {roots[1]}",
            "fetch both packages of the same version",
        )  # fmt: skip
    return pairs


def _pages_of(package: Path, language: str) -> Path:
    pages = package / TEXT.format(language=language)
    if not pages.is_dir():
        raise kdbench.DataNotAvailable(
            f"LibreOffice's help in {language} is not there",
            f"no directory {pages}",
            f"kdbench data fetch {DATASET}",
        )
    return pages
