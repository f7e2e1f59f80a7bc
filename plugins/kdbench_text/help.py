"""Paragraphs of LibreOffice's help, as Debian's packages have it: one HTML file a page, an id for each paragraph."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import kdbench
from kdbench_text import tokens

MODULES = ("scalc", "schart", "sdatabase", "simpress", "smath", "swriter")
"""The six applications: the spreadsheet, its charts, data bases, presentations, formulas, the word processor."""

_PARAGRAPH = re.compile(r"(par|hd)_")
_TAGS = {"p", "h1", "h2", "h3", "h4", "h5", "h6"}
_EMPTY = {"br", "img", "meta", "input", "link", "hr", "wbr", "area", "base", "col", "embed", "source", "track"}


class _Page(HTMLParser):
    """Collects the paragraphs of a page: text by id, of what is shown for no particular system or application."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: dict[str, str] = {}
        self._id: str | None = None
        self._tag = ""
        self._pieces: list[str] = []
        self._hidden: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _TAGS:
            self._finish()
            if _PARAGRAPH.match(given.get("id") or ""):
                self._id, self._tag = given["id"], tag
        elif self._id is not None and tag not in _EMPTY:
            # What one system or application alone is shown is hidden; the default stands beside it, hidden too.
            own = "hidden" in given and not (given.get("id") or "").startswith("default")
            self._hidden.append(own or bool(self._hidden and self._hidden[-1]))
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._tag:
            self._finish()
        elif self._id is not None and self._hidden and tag not in _EMPTY:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if self._id is not None and not (self._hidden and self._hidden[-1]):
            self._pieces.append(data)

    def close(self) -> None:
        super().close()
        self._finish()

    def _finish(self) -> None:
        if self._id is not None:
            text = " ".join("".join(self._pieces).split())
            if text:
                self.paragraphs.setdefault(self._id, text)
        self._id, self._tag, self._pieces, self._hidden = None, "", [], []


def paragraphs(dataset: str, path: Path, place: str) -> dict[str, str]:
    """The paragraphs and headings of one page by their ids, in order, those without text left out.

    Of what differs by operating system or application the default is taken. Raises: InvalidData where it is not UTF-8.
    """
    page = _Page()
    page.feed(tokens.decoded(dataset, path.read_bytes(), place))
    page.close()
    return page.paragraphs


def pages(dataset: str, directory: Path, fix: str) -> dict[str, Path]:
    """The pages of the six modules below a language's directory (`.../help/en-US`): `scalc/01/func_abs` to its file.

    Raises: DataNotAvailable where a module has none.
    """
    found = {}
    for module in MODULES:
        root = directory / "text" / module
        own = sorted(root.rglob("*.html"))
        if not own:
            raise kdbench.DataNotAvailable(
                f"dataset {dataset!r}: the language {directory.name!r} is not on this machine",
                f"{root} holds no page",
                fix,
            )
        found |= {path.relative_to(directory / "text").with_suffix("").as_posix(): path for path in own}
    return found
