"""What else is made of a teacher, once for all runs: kept beside it in the bank, as its signals are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from kdbench.durable import reason, replace_file
from kdbench.engine.bank import teacher_key
from kdbench.engine.peers import ALONE, Peers
from kdbench.engine.signals import ON_DISK_BYTES
from kdbench.errors import StoreError

Tensors = Mapping[str, Tensor]


def made_of_teacher(
    directory: Path | None, name: str, parts: object, make: Callable[[], Tensors], peers: Peers = ALONE
) -> Tensors:
    """The tensors that `make()` gives, on the CPU, from disk where they were made before.

    Processes that ask at once wait for the one that makes them; `peers` make them together, and the first of them keeps
    them. A damaged file is made again, with a warning.

    Args:
        directory: the teacher's place in the bank; None makes them anew. More than `ON_DISK_BYTES` are not kept.
        name: what they are, for people.
        parts: what they depend on beside the teacher, its data and its view, as JSON has it.

    Raises: what `make` raises; StoreError where they cannot be kept.
    """
    if directory is None:
        return _on_cpu(make())
    file = directory / "made" / f"{name}-{teacher_key(name, parts)}.safetensors"
    file.parent.mkdir(exist_ok=True)
    with FileLock(file.with_suffix(".lock")) if peers.first else nullcontext():
        found = _read(file) if peers.first else None
        if not peers.agree(found is not None):
            found = _on_cpu(make())
            if peers.first and sum(value.nbytes for value in found.values()) <= ON_DISK_BYTES:
                _keep(file, found)
    return load_file(file) if found is None else found


def _on_cpu(tensors: Tensors) -> Tensors:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _read(file: Path) -> Tensors | None:
    try:
        return load_file(file)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        warnings.warn(f"{file} is damaged ({error}): it is made again", stacklevel=3)
        return None


def _keep(file: Path, tensors: Tensors) -> None:
    try:
        replace_file(file, save(dict(tensors)), file.parent)
    except OSError as error:
        fix = "free some space, or choose another directory with --out DIR; then run again"
        raise StoreError(f"cannot keep what was made of a teacher in {file}", reason(error), fix) from error
