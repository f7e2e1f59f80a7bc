"""Datasets of the Hugging Face hub, and directories that `datasets` has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import kdbench
from kdbench_data import INSTALL_HUB, pictures, places
from kdbench_data.folders import SPLITS
from kdbench_data.tables import LABELS, encode_labels

OPTIONS = ("config", "image", "label", "size")


def hub_dataset(argument: str) -> kdbench.Data:
    """`hf:NAME[?config=C&image=COLUMN&label=COLUMN&size=PIXELS]`: an image classification set of the hub.

    NAME is a name on the hub, or a directory that `Dataset.save_to_disk` has written, or one of picture or parquet
    files as the hub has them. Raises: DataNotAvailable, InvalidData, InvalidParameter.
    """
    name, chosen = places.options(argument, "hf", OPTIONS)
    return from_hub(
        f"hf:{argument}",
        name,
        config=chosen.get("config"),
        image=chosen.get("image"),
        label=chosen.get("label"),
        size=places.size_option(chosen, f"hf:{argument}"),
    )


def cifar10() -> kdbench.Data:
    """CIFAR-10, (60000, 3, 32, 32) uint8, official test split; Krizhevsky (2009). Raises: DataNotAvailable."""
    return from_hub("cifar10", "uoft-cs/cifar10", image="img", label="label", licence="not stated by its authors")


def cifar100() -> kdbench.Data:
    """CIFAR-100, (60000, 3, 32, 32) uint8, fine labels, official test split; Krizhevsky (2009).

    Raises: DataNotAvailable.
    """
    return from_hub(
        "cifar100", "uoft-cs/cifar100", image="img", label="fine_label", licence="not stated by its authors"
    )


def from_hub(
    dataset: str,
    name: str,
    *,
    config: str | None = None,
    image: str | None = None,
    label: str | None = None,
    size: int | None = None,
    licence: str = "",
    splits: Mapping[str, str] = SPLITS,
) -> kdbench.Data:
    """Every split of an image classification set.

    Args:
        dataset: the name to use in messages.
        name: a name on the hub, or a directory.
        config: the hub's configuration of the set, where it has several.
        image, label: its columns; found by their types where they are not given.
        size: scale and crop pictures to squares of this many pixels.
        licence: as known; the hub's own word is taken otherwise.
        splits: kdbench's name of each of its splits; others are left out.

    Raises: DataNotAvailable, InvalidData.
    """
    library = _library(dataset)
    parts = _load(library, dataset, name, config, splits)
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


def _load(
    library: ModuleType, dataset: str, name: str, config: str | None, splits: Mapping[str, str]
) -> dict[str, Any]:
    """The splits that have labels, by kdbench's names for them."""
    directory = Path(name).expanduser()
    try:
        if directory.is_dir() and any((directory / file).is_file() for file in ("dataset_dict.json", "state.json")):
            loaded = library.load_from_disk(str(directory))
        else:
            loaded = library.load_dataset(str(directory) if directory.is_dir() else name, config)
    except Exception as error:
        raise kdbench.DataNotAvailable(
            f"dataset {dataset!r} is not on this machine",
            f"the library 'datasets' cannot load {name!r}: {str(error).splitlines()[0] if str(error) else error!r}",
            f"on a machine with network: python -c \"import datasets; datasets.load_dataset('{name}')\"",
        ) from error
    if not hasattr(loaded, "items"):
        return {"train": loaded}
    parts = {splits[split]: part for split, part in loaded.items() if split in splits}
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
