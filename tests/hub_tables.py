"""Small image sets on disk in the formats of the Hugging Face hub, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def parts(splits: Mapping[str, Sequence[int]], image: str = "image", label: str = "label", **columns: Any) -> Any:
    """A `DatasetDict` of pictures 6x5 of cats, dogs and eels: by split, the label of each item.

    Args:
        image, label: names of the columns.
        columns: further ones, the same value for every item.
    """
    import datasets
    from PIL import Image

    random = np.random.default_rng(0)
    features = datasets.Features(
        {image: datasets.Image(), label: datasets.ClassLabel(names=["cat", "dog", "eel"])}
        | {name: datasets.Value("int64") for name in columns}
    )
    made = {}
    for split, labels in splits.items():
        pictures = random.integers(0, 256, (len(labels), 6, 5, 3), dtype=np.uint8)
        rows = {image: [Image.fromarray(picture) for picture in pictures], label: list(labels)}
        rows |= {name: [value] * len(labels) for name, value in columns.items()}
        made[split] = datasets.Dataset.from_dict(rows, features=features)
    return datasets.DatasetDict(made)


def write_parquet(tables: Any, directory: Path, shards: int = 1) -> list[Path]:
    """Each split as the hub names its files: train-00000-of-00001.parquet."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for split, table in tables.items():
        for number in range(shards):
            written.append(directory / f"{split}-{number:05d}-of-{shards:05d}.parquet")
            table.shard(shards, number, contiguous=True).to_parquet(written[-1])
    return written
