"""The teacher bank: each teacher is trained once, whoever asks first."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from kdbench.durable import reason
from kdbench.engine.checkpoints import load_weights, save_weights, weights_fingerprint
from kdbench.engine.peers import ALONE, Peers
from kdbench.errors import StoreError
from kdbench.records import SCHEMA


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained teacher, and what it says of the validation and test splits.

    `directory` is its place in the bank, where its signals are kept too; `seconds` what this call spent training it.
    """

    module: nn.Module
    fingerprint: str
    metrics: dict[str, float | None]
    test_probabilities: NDArray[np.float32]
    directory: Path
    seconds: float


@dataclass(frozen=True)
class TrainedTeacher:
    """What `train` hands to the bank."""

    metrics: dict[str, float | None]
    test_probabilities: NDArray[np.float32]


class _Meta(msgspec.Struct):
    fingerprint: str
    metrics: dict[str, float | None]
    seconds: float


def teacher_key(*parts: object) -> str:
    """Stable hash of what defines a teacher: 16 hex digits."""
    encoded = msgspec.json.encode([SCHEMA, *parts], order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:16]


def get_teacher(
    bank: Path,
    key: str,
    name: str,
    model: nn.Module,
    train: Callable[[nn.Module], TrainedTeacher],
    peers: Peers = ALONE,
) -> Teacher:
    """The teacher of that key: loaded into `model` where the bank has it, else trained and kept.

    Processes that ask at once wait for the one that trains; killing that one leaves nothing behind but a lock that the
    system releases. `peers` train it together, and the first of them keeps it.
    """
    bank.mkdir(parents=True, exist_ok=True)
    directory, seconds = bank / key, 0.0
    with FileLock(bank / f"{key}.lock") if peers.first else nullcontext():
        if not peers.agree((directory / "teacher.json").exists()):
            started = time.perf_counter()
            trained = train(model)
            seconds = time.perf_counter() - started
            if peers.first:
                _keep(directory, model, trained, seconds)
            peers.wait()
    meta = msgspec.json.decode((directory / "teacher.json").read_bytes(), type=_Meta)
    load_weights(model, directory / "model.safetensors", name)
    probabilities = np.load(directory / "test_probabilities.npy")
    return Teacher(model, meta.fingerprint, meta.metrics, probabilities, directory, seconds)


def _keep(directory: Path, model: nn.Module, trained: TrainedTeacher, seconds: float) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", suffix=".part", dir=directory.parent))
    try:
        save_weights(model, temporary / "model.safetensors")
        np.save(temporary / "test_probabilities.npy", trained.test_probabilities)
        meta = _Meta(weights_fingerprint(model), trained.metrics, seconds)
        (temporary / "teacher.json").write_bytes(msgspec.json.encode(meta))
        for file in temporary.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        temporary.rename(directory)
    except (OSError, SafetensorError) as error:
        fix = "free some space, or choose another directory with --out DIR; then run again"
        raise StoreError(f"cannot keep the trained teacher in {directory}", reason(error), fix) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
