"""The datasets: aligned help paragraphs, read, tokenised and embedded once, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kdbench
from kdbench_crosslanguage import pairs, sources
from kdbench_crosslanguage.sentences import universal
from kdbench_text import sources as text_sources
from kdbench_text import tokens
from kdbench_text.help import MODULES
from kdbench_text.libreoffice import MINILM_TOKENS
from kdbench_text.sentences import minilm, minilm_directory

VERSION = 1
"""Of reading and tokenising; another number and what is kept is made again."""
LENGTH = 64
SENTENCES = 6000


def help_en_zh() -> kdbench.Data:
    """Aligned paragraphs by application; views words-en, ngrams-en, minilm-en (N, 384), characters-zh, ngrams-zh."""
    directories, model = _languages(), minilm_directory()

    def build() -> dict[str, Any]:
        found = pairs.aligned("help-en-zh", *directories)
        return views(found) | {"minilm-en": minilm([pair.english for pair in found], model, MINILM_TOKENS)}

    parts = [*_versions(), text_sources.MINILM.sha256, MINILM_TOKENS]
    return classification(kdbench.remember("help-en-zh", parts, build))


def help_sentences_6k() -> kdbench.Data:
    """6,000 aligned paragraphs: each Chinese one has to find the embedding of its English partner.

    Views characters-zh, ngrams-zh, and the multilingual encoder's embeddings of the English and of the Chinese text,
    use-en and use-zh (N, 512). Whole pages, drawn with a fixed seed, up to so many paragraphs.
    """
    directories = _languages()
    encoder = kdbench.source_path(sources.USE)

    def build() -> dict[str, Any]:
        found = drawn_pages(pairs.aligned("help-sentences-6k", *directories), SENTENCES)
        arrays = views(found, languages=("zh",))
        for view, text in (("use-en", "english"), ("use-zh", "chinese")):
            arrays[view] = universal([getattr(pair, text) for pair in found], encoder)
        return arrays

    parts = [*_versions(), sources.USE.sha256, SENTENCES]
    return retrieval(kdbench.remember("help-sentences-6k", parts, build))


def _languages() -> tuple[Path, Path]:
    help_pages = "usr/share/libreoffice/help"
    english, chinese = text_sources.HELP_EN, text_sources.HELP_ZH
    return (kdbench.source_path(english) / help_pages / "en-US", kdbench.source_path(chinese) / help_pages / "zh-CN")


def _versions() -> list[Any]:
    return [text_sources.HELP_EN.sha256, text_sources.HELP_ZH.sha256, VERSION, LENGTH]


def drawn_pages(found: Sequence[pairs.Aligned], items: int) -> list[pairs.Aligned]:
    """The pairs of whole pages, up to `items` of them, in order; the same pages at every call."""
    pages = sorted({pair.page for pair in found})
    sizes = dict.fromkeys(pages, 0)
    for pair in found:
        sizes[pair.page] += 1
    chosen, total = set(), 0
    for number in np.random.RandomState(20150309).permutation(len(pages)):
        page = pages[number]
        if total + sizes[page] <= items:
            chosen.add(page)
            total += sizes[page]
    return [pair for pair in found if pair.page in chosen]


def views(found: Sequence[pairs.Aligned], languages: Sequence[str] = ("en", "zh")) -> dict[str, Any]:
    """Token views of both languages, all of 64 tokens or 127 with bigrams; labels by module, groups by page."""
    arrays: dict[str, Any] = {}
    if "en" in languages:
        english = tokens.views([pair.english for pair in found], LENGTH)
        arrays |= {f"{view}-en": array for view, array in english.items()}
    if "zh" in languages:
        chinese = tokens.views([pair.chinese for pair in found], LENGTH, tokens.characters)
        arrays |= {f"{view}-zh": array for view, array in chinese.items()}
    arrays["labels"] = np.array([MODULES.index(pair.module) for pair in found])
    arrays["groups"] = np.unique(np.array([pair.page for pair in found]), return_inverse=True)[1]
    return arrays


def classification(arrays: dict[str, Any]) -> kdbench.Data:
    """Which application a paragraph is about, in either language."""
    inputs = {view: array for view, array in arrays.items() if view not in {"labels", "groups"}}
    return kdbench.Data(
        inputs,
        arrays["labels"],
        MODULES,
        groups=arrays["groups"],
        preprocess={view: "none" if tokens.buckets_of(view) else "standardize" for view in inputs},
        source=f"{text_sources.HELP_EN} and {text_sources.HELP_ZH}",
        licence=text_sources.HELP_EN.licence,
    )


def retrieval(arrays: dict[str, Any]) -> kdbench.Data:
    """Each item has a partner of its own, the English embedding; nothing is standardised, lengths and angles count."""
    inputs = {view: array for view, array in arrays.items() if view not in {"labels", "groups"}}
    return kdbench.Data(
        inputs,
        np.arange(len(arrays["labels"])),
        (),
        task="retrieval",
        targets=arrays["use-en"],
        groups=arrays["groups"],
        preprocess="none",
        source=f"{text_sources.HELP_EN} and {text_sources.HELP_ZH}, embedded by {sources.USE}",
        licence=text_sources.HELP_EN.licence,
    )
