"""Packages in the formats of the real ones, small, that the tests write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from pysword.books import BibleStructure

SCENES = ("cell", "sheet", "chart", "table", "image", "footer", "macro", "page")
CHINESE = dict(zip(SCENES, ("单元格", "工作表", "图表", "表格", "图像", "页脚", "宏", "页面"), strict=True))
VERBS = {"Open": "打开", "Close": "关闭", "Insert": "插入", "Delete": "删除", "Copy": "复制"}
PAGE = """<!DOCTYPE html><html><body><div id="DisplayArea"><h1 id="hd_id1" dir="auto">{title}</h1>
{paragraphs}<p class="related">no id, not read</p></div></body></html>"""


def write_help(root: Path, pages: dict[str, dict[str, str]], language: str) -> Path:
    """A package `libreoffice-help-*`: paragraphs by id, of each page."""
    for name, paragraphs in pages.items():
        file = root / f"usr/share/libreoffice/help/{language}/text" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(
            f'<p id="par_id{key}" class="paragraph"><span class="avis">{text}</span>\n</p>'
            for key, text in paragraphs.items()
        )
        file.write_text(PAGE.format(title=f"LibreOffice {name}", paragraphs=body), encoding="utf-8")
    return root


def small_help(directory: Path) -> tuple[Path, Path]:
    """Both packages: 40 pages of six sentences, no two alike in either language."""
    english: dict[str, dict[str, str]] = {}
    chinese: dict[str, dict[str, str]] = {}
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    counted = "一二三四五六七八"
    for page in range(40):
        name = f"scalc/01/{page:04}.html"
        english[name], chinese[name] = {}, {}
        for verb_number, (verb, verb_chinese) in enumerate(VERBS.items()):
            scene, count = SCENES[page % 8], page // 8 + (verb_number % 2)
            english[name][str(verb_number)] = f"{verb} the {numbers[count]} {scene} of {numbers[page % 7]}."
            chinese[name][str(verb_number)] = f"{verb_chinese}{counted[page % 7]}的{counted[count]}{CHINESE[scene]}。"
    return write_help(directory / "en", english, "en-US"), write_help(directory / "zh", chinese, "zh-CN")


def write_bible(root: Path, name: str, language: str, verses: dict[tuple[str, int, int], str]) -> Path:
    """A SWORD module of format zText: verses in one compressed block, found through two index files."""
    text, records = b"", {}
    structure = BibleStructure("kjv")
    for (book, chapter, verse), words in verses.items():
        (places,) = structure.ref_to_indicies(books=[book], chapters=[chapter], verses=[verse]).values()
        encoded = words.encode()
        records[places[0]] = (0, len(text), len(encoded))
        text += encoded
    folder = root / "usr/share/sword/modules/texts/ztext" / name
    folder.mkdir(parents=True)
    packed = zlib.compress(text)
    (folder / "ot.bzz").write_bytes(packed)
    (folder / "ot.bzs").write_bytes(struct.pack("<III", 0, len(packed), len(text)))
    index = b"".join(struct.pack("<IIH", *records.get(place, (0, 0, 0))) for place in range(max(records) + 1))
    (folder / "ot.bzv").write_bytes(index)
    settings = root / "usr/share/sword/mods.d"
    settings.mkdir(parents=True)
    (settings / f"{name}.conf").write_text(
        f"[{name}]\nDataPath=./modules/texts/ztext/{name}/\nModDrv=zText\nSourceType=OSIS\nEncoding=UTF-8\n"
        f"CompressType=ZIP\nBlockType=BOOK\nVersification=KJV\nLang={language}\n"
    )
    return root
