"""`imagefolder:DIR`: one directory of pictures for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import kdbench
from kdbench_data import pictures, places

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".tif", ".tiff"})


def image_folder(argument: str) -> kdbench.Data:
    """`imagefolder:DIR[?size=PIXELS]`: DIR/CLASS/*.png, or DIR/train/CLASS/..., DIR/val/..., DIR/test/....

    Classes are the names of the directories, sorted; other files are passed over.
    Raises: DataNotAvailable, InvalidData, InvalidParameter.
    """
    path, chosen = places.options(argument, "imagefolder", ("size",))
    name = f"imagefolder:{argument}"
    size = places.size_option(chosen, name)
    root = places.existing(path, "imagefolder")
    parts = {part: split for part, split in SPLITS.items() if (root / part).is_dir()}
    tops = {split: root / part for part, split in parts.items()} or {"": root}
    if len(tops) < len(parts):
        raise kdbench.InvalidData(
            f"dataset {name!r} has two directories for one split", ", ".join(parts), "merge or rename one"
        )
    classes = sorted({folder.name for top in tops.values() for folder in top.iterdir() if folder.is_dir()})
    number = {name: index for index, name in enumerate(classes)}
    found = [(file, number[parts[0]], split) for split, top in tops.items() for parts, file in sorted(_below(top))]
    if not found:
        raise kdbench.InvalidData(
            f"dataset {name!r} has no pictures",
            f"looked for {root}/CLASS/*.png, and for {root}/train/CLASS/*.png",
            f"known suffixes: {', '.join(sorted(SUFFIXES))}",
        )
    files, labels, splits = zip(*found, strict=True)
    return kdbench.Data(
        pictures.of_files(name, files, size),
        np.array(labels),
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        split=np.array(splits) if parts else None,
        preprocess="image",
        source=str(Path(path)),
    )


def _below(top: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """The pictures in the directories of a directory: where each is below it, and its path.

    With a million of them, objects of paths would take minutes, in every worker.
    """
    with os.scandir(top) as entries:
        folders = [((entry.name,), entry.path) for entry in entries if entry.is_dir()]
    while folders:
        parts, folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                below = (*parts, entry.name)
                if entry.is_dir(follow_symlinks=False):  # a link may lead back
                    folders.append((below, entry.path))
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                    yield below, entry.path
