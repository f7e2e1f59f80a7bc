"""English and Chinese paragraphs of LibreOffice's help, aligned by file and paragraph."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import kdbench

TEXT = "usr/share/libreoffice/help/{language}/text"
"""Where a Debian package `libreoffice-help-*` has a language's pages."""
_TAGS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})


class Pair(NamedTuple):
    """One paragraph in both languages; `file` is its page, `MODULE/.../NAME.html`."""

    file: str
    paragraph: str
    english: str
    chinese: str


def read_pairs(english: Path, chinese: Path) -> list[Pair]:
    """Every paragraph that both packages have, in the order of pages and of the page; white space is collapsed.

    A paragraph that a page shows twice is taken once; those that are the same in both languages (not translated) are
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
        translated = _paragraphs(roots[1] / file)
        for paragraph, text in _paragraphs(page).items():
            other = translated.get(paragraph)
            if text and other and text != other:
                pairs.append(Pair(file.as_posix(), paragraph, text, other))
    if not pairs:
        raise kdbench.InvalidData(
            "no paragraph of the help is in both languages", f"looked in {roots[0]} and {roots[1]}",
            "fetch both packages of the same version",
        )  # fmt: skip
    return pairs


def _pages_of(package: Path, language: str) -> Path:
    pages = package / TEXT.format(language=language)
    if not pages.is_dir():
        raise kdbench.DataNotAvailable(
            f"LibreOffice's help in {language} is not there",
            f"no directory {pages}",
            "kdbench data fetch help-en-zh-mt",
        )
    return pages


def _paragraphs(page: Path) -> dict[str, str]:
    try:
        text = page.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise kdbench.InvalidData(
            f"page {page} is not UTF-8", f"byte {error.start} is {error.object[error.start]:#04x}",
            "fetch its package again",
        ) from error  # fmt: skip
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.found


class _Reader(HTMLParser):
    """Collects the text of paragraphs and headings that have an id of the help's own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self._inside: tuple[str, str] | None = None
        self._parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A paragraph begins, or a line of one ends."""
        identity = dict(attrs).get("id") or ""
        if tag in _TAGS and identity.startswith(("par_", "hd_")):
            self._inside, self._parts = (tag, identity), []
        elif tag == "br" and self._inside:
            self._parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """The paragraph is complete."""
        if self._inside and tag == self._inside[0]:
            self.found.setdefault(self._inside[1], " ".join("".join(self._parts).split()))
            self._inside = None

    def handle_data(self, data: str) -> None:
        """Text of the paragraph."""
        if self._inside:
            self._parts.append(data)
