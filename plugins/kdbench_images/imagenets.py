"""Tiny-ImageNet and ImageNet-1k: from a directory of this machine, or from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

import kdbench
from kdbench_data import folders, hub, hub_directories, memory, pictures, places
from kdbench_images.sources import IMAGENET, LICENCE, TINY_IMAGENET

TINY, FULL = "tiny-imagenet", "imagenet-1k"
FULL_ITEMS = 1_281_167 + 50_000


def tiny_imagenet() -> kdbench.Data:
    """Tiny-ImageNet, 100,000 pictures (3, 64, 64) uint8 of 200 classes for training and 10,000 to test on.

    Its validation split is the test split, as in the papers: the labels of its own were never published. Read from
    DIR/tiny-imagenet as its archive unpacks (`read_tiny`) or as the hub has it, else as it was fetched, else from the
    hub.
    Raises: DataNotAvailable, InvalidData.
    """
    directory = next((one for one in places.candidates(TINY) if (one / "wnids.txt").is_file()), None)
    if directory is not None:
        return read_tiny(directory)
    return hub.named_set(
        TINY, TINY_IMAGENET, image="image", label="label",
        splits={"train": "train", "valid": "test", "validation": "test"},
    )  # fmt: skip


def imagenet(size: int = 224) -> kdbench.Data:
    """ImageNet-1k (ILSVRC 2012), 1,281,167 and 50,000 pictures in squares of `size` pixels; validation is the test.

    Read from DIR/imagenet-1k (train/CLASS/*.JPEG and val/CLASS/*.JPEG, or as the hub has it), else as it was fetched,
    else from the hub, which asks for a login. A directory `test` is left out: its labels were never published.
    Raises: DataNotAvailable, also, before anything is fetched, where the pictures fit neither into memory nor onto the
    disk of the data cache; InvalidData, also where one of the two directories is missing; FetchError.
    """
    name = FULL if size == 224 else f"imagenet-{size}"
    for directory in places.candidates(FULL):
        tops = folders.split_directories(name, directory)
        # save_to_disk makes a train/ too
        if tops.keys() & {"train", "validation"} and not hub_directories.holds_tables(directory):
            return replace(_official(name, directory, tops, size), licence=LICENCE)
    if not memory.fits(FULL_ITEMS, 3 * size * size):
        kdbench.check_disk_room(name, FULL_ITEMS * 3 * size * size)
    return hub.named_set(
        name, IMAGENET, place=FULL, image="image", label="label", size=size,
        splits={"train": "train", "validation": "test"},
    )  # fmt: skip


def imagenet_64() -> kdbench.Data:
    """ImageNet-1k in squares of 64 pixels, as `imagenet`."""
    return imagenet(64)


def read_tiny(directory: Path) -> kdbench.Data:
    """Tiny-ImageNet as its archive unpacks: train/WNID/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt.

    Classes are the lines of wnids.txt, sorted, with their first word in words.txt where there is one.
    Raises: InvalidData, by file and line.
    """
    wnids = sorted(line.strip() for line in _lines(directory / "wnids.txt") if line.strip())
    if len(set(wnids)) < len(wnids):
        raise kdbench.InvalidData(f"{directory / 'wnids.txt'} names a class twice", fix="unpack the archive again")
    found = [*_train(directory, wnids), *_validation(directory, wnids)]
    words = _words(directory / "words.txt")
    files, labels, splits = zip(*found, strict=True)
    return kdbench.Data(
        pictures.of_files(TINY, list(map(str, files)), None),
        np.array(labels),
        [f"{wnid} {words[wnid]}" if wnid in words else wnid for wnid in wnids],
        split=np.array(splits),
        preprocess="image",
        source=str(directory),
        licence=LICENCE,
    )


def _official(name: str, directory: Path, tops: Mapping[str, Path], size: int) -> kdbench.Data:
    """Its two labelled splits, both: one that is missing would be drawn from the other under the official name."""
    missing = [part for part, split in (("train", "train"), ("val", "validation")) if split not in tops]
    if missing:
        raise kdbench.InvalidData(
            f"dataset {name!r} has no {directory / missing[0]}",
            f"{directory} holds its other split, and both are needed: train, and val (or validation)",
            f"unpack its pictures to {directory / missing[0]}/CLASS",
        )
    return folders.read_splits(name, {"train": tops["train"], "test": tops["validation"]}, size, source=str(directory))


def _train(directory: Path, wnids: list[str]) -> Iterator[tuple[Path, int, str]]:
    for label, wnid in enumerate(wnids):
        folder = directory / "train" / wnid / "images"
        files = [file for file in sorted(folder.glob("*")) if file.suffix.lower() in folders.SUFFIXES]
        if not files:
            raise kdbench.InvalidData(
                f"class {wnid!r} of wnids.txt has no training pictures",
                f"looked in {folder}",
                "unpack the archive again",
            )
        yield from ((file, label, "train") for file in files)


def _validation(directory: Path, wnids: list[str]) -> Iterator[tuple[Path, int, str]]:
    path = directory / "val" / "val_annotations.txt"
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0].strip()
        picture = directory / "val" / "images" / name
        if wnid not in wnids:
            why = f"its second column is {wnid!r}, which wnids.txt does not list"
        elif not picture.is_file():
            why = f"there is no {picture}"
        else:
            yield picture, wnids.index(wnid), "test"
            continue
        raise kdbench.InvalidData(f"{path}, line {number} cannot be used", why, "unpack the archive again")


def _words(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {wnid: names.split(",")[0].strip() for wnid, _, names in (line.partition("\t") for line in _lines(path))}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise kdbench.InvalidData(f"{path} cannot be read", str(error), "unpack the archive again") from error
