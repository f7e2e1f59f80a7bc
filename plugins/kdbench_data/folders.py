"""`imagefolder:DIR`: one directory of pictures for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

import kdbench
from kdbench_data import pictures, places

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".tif", ".tiff"})


def image_folder(argument: str) -> kdbench.Data:
    """`imagefolder:DIR[?size=PIXELS]`: DIR/CLASS/*.png, or DIR/train/CLASS/..., DIR/val/..., DIR/test/....

    Classes are the names of the directories, sorted; other files are passed over.
    Raises: DataNotAvailable; InvalidParameter; InvalidData, also for a split directory without a picture in a class
    directory, for without its items that split would be drawn from another.
    """
    path, chosen = places.options(argument, "imagefolder", ("size",))
    name = f"imagefolder:{argument}"
    size = places.size_option(chosen, name)
    root = places.existing(path, "imagefolder")
    return read_splits(name, split_directories(name, root) or {"": root}, size, source=str(Path(path)))


def split_directories(name: str, root: Path) -> dict[str, Path]:
    """The directories of the splits, by kdbench's names of these. Raises: InvalidData for two of one split."""
    parts = {part: split for part, split in SPLITS.items() if (root / part).is_dir()}
    tops = {split: root / part for part, split in parts.items()}
    if len(tops) < len(parts):
        raise kdbench.InvalidData(
            f"dataset {name!r} has two directories for one split", ", ".join(parts), "merge or rename one"
        )
    return tops


def read_splits(name: str, tops: Mapping[str, Path], size: int | None, source: str) -> kdbench.Data:
    """The dataset `name` from the directories of its splits, each with CLASS/*.png; `{"": DIR}` has no official split.

    Raises: InvalidData, naming the directory that has no picture in a class directory.
    """
    classes = sorted({folder.name for top in tops.values() for folder in top.iterdir() if folder.is_dir()})
    number = {name: index for index, name in enumerate(classes)}
    found: list[tuple[str, int, str]] = []
    for split, top in tops.items():
        below = sorted(_below(top))
        if not below:
            raise _without_pictures(name, split, top)
        found += [(file, number[parts[0]], split) for parts, file in below]
    files, labels, splits = zip(*found, strict=True)
    return kdbench.Data(
        pictures.of_files(name, files, size),
        np.array(labels),
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        split=None if "" in tops else np.array(splits),
        preprocess="image",
        source=source,
    )


def _without_pictures(name: str, split: str, top: Path) -> kdbench.InvalidData:
    with os.scandir(top) as entries:
        loose = sum(map(_is_picture, entries))
    looked = f"{top}/CLASS/*.png" if split else f"{top}/CLASS/*.png and {top}/train/CLASS/*.png"
    away = f", or {top} elsewhere where the classes are not known" if split else ""
    return kdbench.InvalidData(
        f"dataset {name!r} has no pictures in class directories of {top}",
        f"looked for {looked}; pictures in {top} without a class directory: {loose}",
        f"move every picture to {top}/CLASS{away}; known suffixes: {', '.join(sorted(SUFFIXES))}",
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
                elif _is_picture(entry):
                    yield below, entry.path


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file()
