"""The two parallel texts: LibreOffice's help in English and Chinese, and the Bible in English and Spanish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import kdbench
from kdbench_translation.sentences import SENTENCES, Sentences, Sizes, as_arrays, as_data, without_near_duplicates
from kdbench_translation.sources import BIBLES, HELP


def help_en_zh(sizes: Sizes) -> kdbench.Data:
    """Paragraphs of the help, split by page; those without a Chinese character in the Chinese are left out."""

    def read() -> list[Sentences]:
        from kdbench_translation.help import read_pairs
        from kdbench_translation.scores import HAN

        pairs = read_pairs(*map(kdbench.source_path, HELP))
        return [Sentences(pair.english, pair.chinese, pair.file) for pair in pairs if HAN.search(pair.chinese)]

    return _prepared("help-en-zh-mt", HELP, read, sizes)


def kjv_sparv(sizes: Sizes) -> kdbench.Data:
    """Verses, split by chapter."""

    def read() -> list[Sentences]:
        from kdbench_translation.verses import read_verses

        return read_verses(*map(kdbench.source_path, BIBLES))

    return _prepared("kjv-sparv", BIBLES, read, sizes)


def _prepared(
    name: str, sources: Sequence[kdbench.Source], read: Callable[[], list[Sentences]], sizes: Sizes
) -> kdbench.Data:
    for source in sources:
        kdbench.source_path(source)  # absent data is told before anything is looked for in the cache
    parts: list[Any] = [[source.sha256 for source in sources], asdict(sizes), SENTENCES]
    arrays = kdbench.remember(name, parts, lambda: as_arrays(without_near_duplicates(read()), sizes))
    return as_data(arrays, source=", ".join(map(str, sources)), licence=sources[0].licence)


SHORT = Sizes(length=16, train=3000, validation=300, test=300)
SHORT_VERSES = Sizes(length=28, validation=300, test=300)
LONG = Sizes(vocabulary=4000, length=48, validation=1000, test=1000)
help_short, verses_short = partial(help_en_zh, SHORT), partial(kjv_sparv, SHORT_VERSES)
help_long, verses_long = partial(help_en_zh, LONG), partial(kjv_sparv, LONG)
