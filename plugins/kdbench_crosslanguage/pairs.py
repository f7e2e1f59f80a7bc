"""Paragraphs of LibreOffice's help in English and Chinese, aligned by page and paragraph id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import kdbench
from kdbench_text import help as help_pages
from kdbench_text import tokens

FIX = "kdbench data fetch help-en-zh"
_HAN = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Aligned:
    """A paragraph in both languages, and where it stands: `page` as in `scalc/01/func_abs`."""

    page: str
    paragraph: str
    english: str
    chinese: str

    @property
    def module(self) -> str:
        """The application."""
        return self.page.partition("/")[0]


def aligned(dataset: str, english: Path, chinese: Path) -> list[Aligned]:
    """The pairs of the six modules, below `.../help/en-US` and `.../help/zh-CN`, in order.

    Left out: what is not translated (the same text, or no Han character), English of fewer than three words, and
    copies: of each English and of each Chinese text, punctuation aside, the first pair is kept, and none where the
    copies are in two modules. So no text of either language is in two pages.

    Raises: DataNotAvailable where a language or a module is not there; InvalidData for a page that is not UTF-8, and
        where no page is in both languages.
    """
    sides = [help_pages.pages(dataset, directory, FIX) for directory in (english, chinese)]
    shared = [page for page in sides[0] if page in sides[1]]
    if not shared:
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: no page is in both languages", f"{english.name} and {chinese.name}", FIX
        )
    pairs = []
    for page in shared:
        one, other = (
            help_pages.paragraphs(dataset, side[page], f"{directory.name}/text/{page}.html")
            for side, directory in zip(sides, (english, chinese), strict=True)
        )
        pairs += [Aligned(page, name, one[name], other[name]) for name in one if name in other]
    pairs = [pair for pair in pairs if _translated(pair)]
    for text in ("english", "chinese"):
        keys = [tokens.plain(getattr(pair, text)).replace(" ", "") for pair in pairs]
        pairs = [pairs[n] for n in tokens.one_of_each(keys, [pair.module for pair in pairs])]
    if not pairs:
        raise kdbench.InvalidData(f"dataset {dataset!r}: no paragraph is in both languages", fix=FIX)
    return pairs


def _translated(pair: Aligned) -> bool:
    return (
        pair.english != pair.chinese
        and _HAN.search(pair.chinese) is not None
        and len(tokens.plain(pair.english).split()) >= 3
    )
