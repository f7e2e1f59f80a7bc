"""WordNet's glosses: which of its 45 lexicographer files a definition comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import kdbench
from kdbench_text import tokens

NAME = "wordnet-glosses"
LENGTH = 32
MINILM_TOKENS = 64
PARTS = ("noun", "verb", "adj", "adv")
CLASSES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
"""The lexicographer files by their numbers, 0 to 44: lexnames(5WN)."""


def glosses(directory: Path) -> tuple[list[str], list[int]]:
    """Glosses and classes of the files data.noun, data.verb, data.adj and data.adv: wndb(5WN).

    One of each definition (what stands before the first quoted example, its words alone) is kept; none of a definition
    that stands in two classes. Raises: DataNotAvailable, InvalidData.
    """
    texts, labels, places = [], [], []
    for part in PARTS:
        path = directory / f"data.{part}"
        if not path.is_file():
            raise kdbench.DataNotAvailable(
                f"dataset {NAME!r} is not complete", f"there is no {path}", "kdbench data fetch wordnet-glosses"
            )
        for number, line in enumerate(tokens.decoded(NAME, path.read_bytes(), path.name).splitlines(), 1):
            if line and not line.startswith("  "):  # the licence, on top, is indented
                place = f"{path.name}, line {number}"
                label, text = _synset(line, place)
                texts.append(text)
                labels.append(label)
                places.append(place)
    if not texts:
        raise kdbench.InvalidData(
            f"dataset {NAME!r}: its files hold no synset", fix="kdbench data fetch wordnet-glosses"
        )
    tokens.check_texts(NAME, zip(places, texts, strict=True))
    kept = tokens.one_of_each([tokens.plain(text.split('; "')[0]) for text in texts], labels)
    return [texts[n] for n in kept], [labels[n] for n in kept]


def _synset(line: str, place: str) -> tuple[int, str]:
    head, separator, gloss = line.partition("| ")
    fields = head.split(maxsplit=2)
    if not separator or len(fields) < 3:
        raise kdbench.InvalidData(
            f"dataset {NAME!r}: {place} is no synset", f"it begins {line[:40]!r}", "kdbench data fetch wordnet-glosses"
        )
    if not fields[1].isdecimal() or int(fields[1]) >= len(CLASSES):
        raise kdbench.InvalidData(
            f"dataset {NAME!r}: {place} is in the unknown lexicographer file {fields[1]!r}",
            f"they go from 00 to {len(CLASSES) - 1}",
        )
    return int(fields[1]), gloss.strip()


def subset(labels: list[int], items: int) -> list[int]:
    """Positions of a subset of about `items` in which every class keeps its share, but has five items where it can.

    The same at every call.
    """
    shuffled = np.random.RandomState(20150309).permutation(len(labels))
    array = np.array(labels)
    chosen = []
    for label in np.unique(array):
        own = shuffled[array[shuffled] == label]
        chosen.append(own[: max(5, round(len(own) * items / len(labels)))])
    return sorted(np.concatenate(chosen).tolist())
