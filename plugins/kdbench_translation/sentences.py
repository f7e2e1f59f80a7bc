"""Aligned sentences made an item each: cleaned, split by document, cut into pieces of a vocabulary learnt on train."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import kdbench
from kdbench.data import BEGIN, END, IGNORED_LABEL, PADDING

SENTENCES = 1
"""A number that changes with the code of this module: what was prepared by other code is not taken."""
TEXTS = 20_000
"""The vocabulary is learnt from so many train texts at most."""
SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)


class Sentences(NamedTuple):
    """A sentence in two languages, and the document that it is of."""

    source: str
    target: str
    document: str


@dataclass(frozen=True)
class Sizes:
    """What is kept of a text.

    Args:
        vocabulary: pieces of both languages together, the 256 of single bytes among them.
        length: the most pieces of a source or a target, its end among them; what is longer is left out, not cut.
        train, validation, test: the most items of each split; None keeps all.
        coverage: the share of characters that get pieces; the others are spelt in bytes.
    """

    vocabulary: int = 2000
    length: int = 24
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    coverage: float = 0.98


def without_near_duplicates(sentences: Iterable[Sentences]) -> list[Sentences]:
    """The first of those whose source, or whose target, is the same but for case, digits and punctuation.

    So no source and no target of the test split is in train in another spelling. Sentences without a letter on either
    side are left out.
    """
    seen: tuple[set[str], set[str]] = (set(), set())
    kept = []
    for sentence in sentences:
        keys = [re.sub(r"[\W\d_]+", " ", text.lower()).strip() for text in sentence[:2]]
        if not all(keys) or any(key in known for key, known in zip(keys, seen, strict=True)):
            continue
        for key, known in zip(keys, seen, strict=True):
            known.add(key)
        kept.append(sentence)
    return kept


def split_by_document(documents: Sequence[str]) -> NDArray[np.int64]:
    """The split of each sentence, as an index of `SPLITS`: whole documents, in an order that only their names decide.

    Documents are taken by the SHA-256 of their names: the first with a tenth of the sentences are the test split, the
    next with another the validation split.
    """
    counts: dict[str, int] = {}
    for name in documents:
        counts[name] = counts.get(name, 0) + 1
    part_of, done = {}, 0
    for name in sorted(counts, key=lambda name: hashlib.sha256(name.encode()).digest()):
        share = done / len(documents)
        part_of[name] = 2 if share < SHARES[2] else 1 if share < SHARES[1] + SHARES[2] else 0
        done += counts[name]
    return np.array([part_of[name] for name in documents])


def as_arrays(sentences: Sequence[Sentences], sizes: Sizes) -> dict[str, NDArray[Any]]:
    """Rows, labels, splits and documents of the items, and the vocabulary's pieces.

    `rows` (N, 2 · length) holds the source with its end, then what the decoder is given: the beginning and the target;
    `labels` (N, length) what it is to say at each place, -100 after the end.

    Raises: InvalidData for too little text for the vocabulary, or a split that stays empty.
    """
    split = split_by_document([sentence.document for sentence in sentences])
    texts = (text for sentence, part in zip(sentences, split, strict=True) if part == 0 for text in sentence[:2])
    processor = _vocabulary(islice(texts, TEXTS), sizes)
    length = sizes.length
    limits = (sizes.train, sizes.validation, sizes.test)
    counts, rows, labels, chosen = [0, 0, 0], [], [], []
    for number, (sentence, part) in enumerate(zip(sentences, split.tolist(), strict=True)):
        limit = limits[part]
        if limit is not None and counts[part] >= limit:
            continue
        source, target = ([*processor.encode(text), END] for text in sentence[:2])
        if max(len(source), len(target)) > length:
            continue
        counts[part] += 1
        row, label = np.zeros(2 * length, np.int64), np.full(length, IGNORED_LABEL)
        row[: len(source)] = source
        row[length : length + len(target)] = [BEGIN, *target[:-1]]
        label[: len(target)] = target
        rows.append(row)
        labels.append(label)
        chosen.append(number)
    for name, count in zip(SPLITS, counts, strict=True):
        if not count:
            raise kdbench.InvalidData(
                f"no sentence is left for the {name} split",
                f"{len(sentences)} sentences, of at most {length} pieces",
                "allow longer ones, or give more text",
            )
    documents = {name: number for number, name in enumerate(dict.fromkeys(s.document for s in sentences))}
    return {
        "rows": np.stack(rows),
        "labels": np.stack(labels),
        "split": split[chosen],
        "documents": np.array([documents[sentences[number].document] for number in chosen]),
        "pieces": np.array([processor.id_to_piece(n) for n in range(len(processor))]),
    }


def _vocabulary(texts: Iterable[str], sizes: Sizes) -> Any:
    """A SentencePiece unigram model (Kudo, 2018); with bytes, and without normalisation, no text is lost in it."""
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=model, vocab_size=sizes.vocabulary, model_type="unigram",
            byte_fallback=True, character_coverage=sizes.coverage, normalization_rule_name="identity",
            pad_id=PADDING, bos_id=BEGIN, eos_id=END, unk_id=3, num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise kdbench.InvalidData(
            f"no vocabulary of {sizes.vocabulary} pieces can be learnt from the train split",
            f"sentencepiece: {str(error).strip().splitlines()[-1]}",
            "ask for fewer pieces, or give more text",
        ) from error
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def as_data(arrays: dict[str, NDArray[Any]], *, source: str, licence: str) -> kdbench.Data:
    """The dataset of those arrays."""
    return kdbench.Data(
        arrays["rows"],
        arrays["labels"],
        arrays["pieces"].tolist(),
        task="seq2seq",
        split=np.array(SPLITS)[arrays["split"]],
        groups=arrays["documents"],
        preprocess="none",
        source=source,
        licence=licence,
    )
