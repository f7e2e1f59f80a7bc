"""Verses of SWORD modules: the King James Version, and the Reina-Valera of 1909."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import kdbench
from kdbench_translation.sentences import Sentences

ROOT = "usr/share/sword"


def read_verses(english: Path, spanish: Path) -> list[Sentences]:
    """Every verse that both Bibles have; its document is its chapter.

    Args:
        english, spanish: the extracted Debian packages `sword-text-kjv` and `sword-text-sparv`.

    Raises: DataNotAvailable where one is missing; InvalidData for a module that cannot be read, or whose language is
        another.
    """
    one, other = _verses(english, "en"), _verses(spanish, "es")
    return [
        Sentences(text, other[place], f"{place[0]} {place[1]}")
        for place, text in one.items()
        if text and other.get(place)
    ]


def _verses(package: Path, language: str) -> dict[tuple[str, int, int], str]:
    """Verses by book, chapter and verse, white space collapsed."""
    from pysword.modules import SwordModules

    root = package / ROOT
    if not (root / "mods.d").is_dir():
        raise kdbench.DataNotAvailable(
            f"no SWORD module is in {package}", f"there is no {root / 'mods.d'}", "kdbench data fetch kjv-sparv"
        )
    modules = SwordModules(str(root))
    found = {name: about for name, about in modules.parse_modules().items() if about.get("lang") == language}
    if len(found) != 1:
        raise kdbench.InvalidData(
            f"{root} has {len(found)} modules of language {language!r}", "one is needed", "fetch its package again"
        )
    name = next(iter(found))
    try:
        bible = modules.get_bible_from_module(name)
        bible._decompressed_text = _blocks(bible._decompressed_text)
        return {
            (book.name, chapter, verse): " ".join(text.split())
            for books in bible.get_structure().get_books().values()
            for book in books
            for chapter in range(1, book.num_chapters + 1)
            for verse, text in enumerate(bible.get_iter(books=[book.name], chapters=[chapter]), 1)
        }
    except kdbench.InvalidData:
        raise
    except Exception as error:  # pysword raises what struct, zlib and codecs do
        raise kdbench.InvalidData(
            f"module {name!r} in {root} cannot be read", f"{type(error).__name__}: {error}", "fetch its package again"
        ) from error


def _blocks(read: Callable[[str, int], bytes]) -> Callable[[str, int], bytes]:
    """Pysword's reader of blocks, which would decompress a whole book anew for every verse, and hides damage."""

    @lru_cache(maxsize=2)
    def block(testament: str, number: int) -> bytes:
        text = read(testament, number)
        if not text:
            raise kdbench.InvalidData(
                f"block {number} of a Bible's {testament!r} cannot be read", "it is cut off or does not decompress",
                "fetch its package again",
            )  # fmt: skip
        return text

    return block
