"""Datasets of the Hugging Face hub, and directories that `datasets` has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import kdbench
from kdbench_data import CIFAR10, CIFAR100, INSTALL_HUB, hub_directories, pictures, places
from kdbench_data.folders import SPLITS
from kdbench_data.tables import LABELS, encode_labels

OPTIONS = ("config", "revision", "image", "label", "size")
OFFICIAL = {"train": "train", "test": "test"}


def hub_dataset(argument: str) -> kdbench.Data:
    """`hf:NAME[?config=C&revision=R&image=COLUMN&label=COLUMN&size=PIXELS]`: an image classification set of the hub.

    NAME is a name on the hub, or a directory that `Dataset.save_to_disk` has written, or one of picture or parquet
    files as the hub has them. Raises: DataNotAvailable, InvalidData, InvalidParameter.
    """
    name, chosen = places.options(argument, "hf", OPTIONS)
    return from_hub(
        f"hf:{argument}",
        name,
        config=chosen.get("config"),
        revision=chosen.get("revision"),
        image=chosen.get("image"),
        label=chosen.get("label"),
        size=places.size_option(chosen, f"hf:{argument}"),
    )


def cifar10() -> kdbench.Data:
    """CIFAR-10, (60000, 3, 32, 32) uint8, official test split; Krizhevsky (2009).

    Raises: DataNotAvailable, InvalidData.
    """
    return named_set("cifar10", CIFAR10, image="img", label="label", splits=OFFICIAL)


def cifar100() -> kdbench.Data:
    """CIFAR-100, (60000, 3, 32, 32) uint8, fine labels, official test split; Krizhevsky (2009).

    Raises: DataNotAvailable, InvalidData.
    """
    return named_set("cifar100", CIFAR100, image="img", label="fine_label", splits=OFFICIAL)


def named_set(
    dataset: str,
    source: kdbench.Source,
    *,
    image: str,
    label: str,
    splits: Mapping[str, str],
    place: str | None = None,
    size: int | None = None,
) -> kdbench.Data:
    """A known set of the hub: from a directory of this machine, as kdbench fetched it, or from the hub itself.

    Args:
        dataset: the name to use in messages.
        source: what `kdbench data fetch` fetches.
        image, label, splits, size: as of `from_hub`. Each of kdbench's splits that `splits` names has to be there.
        place: the name under which directories are looked for, where it is another.

    Raises: DataNotAvailable, with every way to get it; InvalidData.
    """
    place = place or dataset
    download = f"hf download {source.name} --repo-type dataset --local-dir DIR/{place}"
    directory = hub_directories.find(place)
    if directory is not None:
        hub_directories.check_complete(dataset, directory, f"complete it: {download}")
    directory = directory or _fetched(source)
    revision = None if directory or source.version == "main" else source.version
    try:
        return from_hub(
            dataset, str(directory or source.name), revision=revision, image=image, label=label, size=size,
            licence=source.licence, splits=splits, whole=True,
        )  # fmt: skip
    except kdbench.DataNotAvailable as error:
        if directory is not None:
            raise
        install = f"{INSTALL_HUB}, then: " if error.fix == INSTALL_HUB else ""
        login = "hf auth login, " if source.login else ""
        elsewhere = f"on a machine with network: {login}{download}, and KDBENCH_DATA=DIR here"
        fix = f"{install}kdbench data fetch {dataset}; or {elsewhere}"
        raise kdbench.DataNotAvailable(error.what, error.why, fix) from error


def from_hub(
    dataset: str,
    name: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    image: str | None = None,
    label: str | None = None,
    size: int | None = None,
    licence: str = "",
    splits: Mapping[str, str] = SPLITS,
    whole: bool = False,
) -> kdbench.Data:
    """Every split of an image classification set.

    Args:
        dataset: the name to use in messages.
        name: a name on the hub, or a directory.
        config: the hub's configuration of the set, where it has several.
        revision: a commit, branch or tag of the hub; of a directory there is none.
        image, label: its columns; found by their types where they are not given.
        size: scale and crop pictures to squares of this many pixels.
        licence: as known; the hub's own word is taken otherwise.
        splits: kdbench's name of each of its splits, in the order of the items; others are left out.
        whole: each split that `splits` has a name for must be there.

    Raises: DataNotAvailable; InvalidData; InvalidParameter for a revision of a directory.
    """
    library = _library(dataset)
    parts = _by_split(dataset, name, _load(library, dataset, name, config, revision), splits)
    if whole and (absent := set(splits.values()).difference(parts)):
        raise kdbench.InvalidData(
            f"dataset {dataset!r}: {name} lacks the {' and the '.join(sorted(absent))} split",
            f"it has {', '.join(parts)}",
            "get it again",
        )
    first = next(iter(parts.values()))
    image = _column(dataset, first, image, _is_image(library), "image")
    label = _column(dataset, first, label, _is_label(library), "label")
    classes = getattr(first.features[label], "names", None)
    labels = np.concatenate([np.asarray(part[label]) for part in parts.values()])
    if classes is None:
        labels, classes = encode_labels(dataset, labels)
    opened = [
        (f"item {index} of {split}", partial(_picture, part, index, image))
        for split, part in parts.items()
        for index in range(len(part))
    ]
    split = np.repeat(list(parts), [len(part) for part in parts.values()])
    return kdbench.Data(
        # The library's own fingerprints tell what it has loaded; with the column, that decides the pictures.
        pictures.stack(dataset, opened, size, lambda: [image, [part._fingerprint for part in parts.values()]]),
        labels,
        classes,
        task="binary" if len(classes) == 2 else "multiclass",
        split=split if len(parts) > 1 else None,
        preprocess="image",
        source=f"{name} ({first.info.version or 'no version'})",
        licence=licence or first.info.license or "as its page says",
    )


def _library(dataset: str) -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise kdbench.DataNotAvailable(
            f"dataset {dataset!r} is not on this machine",
            "the library 'datasets' that fetches it is missing",
            INSTALL_HUB,
        ) from error
    return datasets


def _fetched(source: kdbench.Source) -> Path | None:
    try:
        return kdbench.source_path(source)
    except kdbench.DataNotAvailable:
        return None


def _load(library: ModuleType, dataset: str, name: str, config: str | None, revision: str | None) -> Any:
    """What the library makes of it: a set, or several by the names of the splits."""
    directory = Path(name).expanduser()
    if revision and directory.is_dir():
        raise kdbench.InvalidParameter(f"dataset {dataset!r}: a directory has no revision", fix="leave out revision=")
    try:
        if not directory.is_dir():
            return library.load_dataset(name, config, **({"revision": revision} if revision else {}))
        if hub_directories.is_saved(directory):
            return library.load_from_disk(str(directory))
        return library.load_dataset(str(directory), config)
    except Exception as error:
        if directory.is_dir():
            raise hub_directories.unreadable(dataset, directory, error) from error
        raise kdbench.DataNotAvailable(
            f"dataset {dataset!r} is not on this machine",
            f"the library 'datasets' cannot load {name!r}: {str(error).splitlines()[0] if str(error) else error!r}",
            f"on a machine with network: python -c \"import datasets; datasets.load_dataset('{name}')\"",
        ) from error


def _by_split(dataset: str, name: str, loaded: Any, splits: Mapping[str, str]) -> dict[str, Any]:
    """The splits that have labels, by kdbench's names for them."""
    if not hasattr(loaded, "items"):
        return {"train": loaded}
    parts: dict[str, Any] = {}
    for own, split in splits.items():
        if own not in loaded:
            continue
        if split in parts:
            raise kdbench.InvalidData(
                f"dataset {dataset!r}: {name} has two splits for {split}",
                f"its splits: {', '.join(loaded)}",
                "remove one",
            )
        parts[split] = loaded[own]
    if not parts:
        raise kdbench.InvalidData(
            f"dataset {dataset!r} has no split that can be used", f"its splits: {', '.join(loaded)}"
        )
    return parts


def _is_image(library: ModuleType) -> Any:
    return lambda name, feature: isinstance(feature, library.Image)


def _is_label(library: ModuleType) -> Any:
    return lambda name, feature: isinstance(feature, library.ClassLabel) or name in LABELS


def _column(dataset: str, part: Any, chosen: str | None, fits: Any, what: str) -> str:
    """The column that is named, or the only one that fits."""
    names: Sequence[str] = list(part.features)
    fitting = [name for name in names if fits(name, part.features[name])]
    if chosen in names or (chosen is None and len(fitting) == 1):
        return chosen or fitting[0]
    why = f"it has no column {chosen!r}" if chosen else f"columns that may hold it: {', '.join(fitting) or 'none'}"
    raise kdbench.InvalidData(
        f"dataset {dataset!r}: cannot tell its {what} column",
        f"{why}; its columns: {', '.join(names)}",
        f"name it: ?{what}=COLUMN",
    )


def _picture(part: Any, index: int, column: str) -> Any:
    return part[index][column]
