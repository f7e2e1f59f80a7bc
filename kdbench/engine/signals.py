"""What the teacher says of the training items: computed once per teacher and shared, or computed for every batch."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from kdbench.engine.disk_view import Inputs
from kdbench.engine.evaluate import BATCH
from kdbench.engine.features import FeatureTap, resolve
from kdbench.engine.peers import ALONE, Peers
from kdbench.errors import ModelMismatch
from kdbench.method import Batch, Needs, Outputs

IN_MEMORY_BYTES = 256 * 2**20
ON_DISK_BYTES = 4 * 2**30


class TeacherSource(Protocol):
    """Where a trainer gets the teacher's outputs from."""

    module: nn.Module | None
    forward_samples: int

    def outputs(self, batch: Batch) -> Outputs:
        """The signals for one batch."""

    def close(self) -> None:
        """Release hooks."""


class NoTeacher:
    """For methods that declare no teacher signal."""

    module: nn.Module | None = None
    forward_samples = 0

    def outputs(self, batch: Batch) -> Outputs:
        """Empty logits (N, 0): a method that reads them without declaring it fails at once."""
        return Outputs(batch.inputs.new_zeros(len(batch.labels), 0), {}, batch.teacher_inputs)

    def close(self) -> None:
        """Nothing to release."""


class LiveTeacher:
    """Runs the teacher on every batch: augmented inputs, input gradients, or a teacher that keeps learning."""

    def __init__(self, module: nn.Module, needs: Needs, name: str, *, trains: bool) -> None:
        self.module: nn.Module | None = module
        self.forward_samples = 0
        self._model, self._needs, self._trains = module, needs, trains
        self._tap = FeatureTap(module, needs.teacher_features, name)

    def outputs(self, batch: Batch) -> Outputs:
        """One forward pass, without autograd unless the method needs it."""
        grad, inputs = self._trains or self._needs.teacher_grad, batch.teacher_inputs
        if self._needs.input_grad:
            inputs.requires_grad_()
        elif grad and not self._trains:  # its parameters are frozen: the graph has to begin at its inputs
            inputs = inputs.detach().requires_grad_()
        self._model.train(self._trains)
        with nullcontext() if grad else torch.no_grad():
            logits = self._model(inputs)
        self.forward_samples += len(batch.labels)
        return Outputs(logits, self._tap.take(), inputs)

    def close(self) -> None:
        """Remove the hooks."""
        self._tap.close()


class StoredTeacher:
    """Looks the teacher's signals up by item: for inputs that are the same in every epoch."""

    def __init__(self, module: nn.Module, signals: Mapping[str, Tensor], forward_samples: int) -> None:
        self.module: nn.Module | None = module
        self.forward_samples = forward_samples
        self._logits = signals["logits"]
        self._features = {name: value for name, value in signals.items() if name != "logits"}

    def outputs(self, batch: Batch) -> Outputs:
        """The batch's rows of each signal."""
        device = batch.index.device
        features = {name: _rows(value, batch.index).to(device) for name, value in self._features.items()}
        return Outputs(_rows(self._logits, batch.index).to(device), features, batch.teacher_inputs)

    def close(self) -> None:
        """Nothing to release."""


def _rows(values: Tensor, index: Tensor) -> Tensor:
    return values[index if values.device == index.device else index.to(values.device)]


def stored_signals(
    module: nn.Module,
    name: str,
    inputs: Inputs,
    features: tuple[str, ...],
    directory: Path,
    others: Callable[[], tuple[str, ...]] = tuple,
    peers: Peers = ALONE,
) -> tuple[dict[str, Tensor], int] | None:
    """The teacher's logits and named features on `inputs`, computed at most once for all processes.

    Kept as one .npy file a signal under `directory` (which stands for one teacher and split); small ones are read into
    memory, larger ones memory-mapped. Returns the signals and how many items the teacher was run on, or None where
    they would take more than `ON_DISK_BYTES`. `others` are features that are kept in the same pass, as far as the model
    has them and there is room, because another method will ask for them. Of `peers`, the first computes.
    """
    files = _files(directory, {feature: resolve(module, feature, name) for feature in features})
    ran_on = peers.agree(_make_files(module, name, inputs, files, directory, others) if peers.first else None)
    if ran_on is None:
        return None
    loaded = {signal: _load(file, inputs.device) for signal, file in files.items()}
    return loaded, ran_on if peers.first else 0


def _make_files(
    module: nn.Module,
    name: str,
    inputs: Inputs,
    files: Mapping[str, Path],
    directory: Path,
    others: Callable[[], tuple[str, ...]],
) -> int | None:
    """Compute the files that are missing: how many items the teacher was run on, or None where they are too large."""
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / "lock"):
        missing = [signal for signal, file in files.items() if not file.exists()]
        if not missing:
            return 0
        more = _files(directory, _resolvable(module, name, others()))
        wanted = {file: signal for signal, file in ({**files, **more}).items() if not file.exists()}
        ran_on = _keep(module, name, inputs, {signal: file for file, signal in wanted.items()})
        if ran_on == 0:  # too large together: what this method needs may still fit
            ran_on = _keep(module, name, inputs, {signal: files[signal] for signal in missing})
        return ran_on or None


def _files(directory: Path, paths: Mapping[str, str]) -> dict[str, Path]:
    """The file of each signal: features of the same module share one."""
    return {
        "logits": directory / "logits.npy",
        **{signal: directory / f"{_file_name(path)}.npy" for signal, path in paths.items()},
    }


def _resolvable(module: nn.Module, name: str, features: tuple[str, ...]) -> dict[str, str]:
    paths = {}
    for feature in features:
        with suppress(ModelMismatch):  # the run that asks for what the model lacks is told by name
            paths[feature] = resolve(module, feature, name)
    return paths


def _keep(module: nn.Module, name: str, inputs: Inputs, files: Mapping[str, Path]) -> int:
    tap = FeatureTap(module, [signal for signal in files if signal != "logits"], name)
    try:
        return _compute(module, tap, inputs, files)
    finally:
        tap.close()


def _file_name(path: str) -> str:
    return path if path.isidentifier() else hashlib.sha256(path.encode()).hexdigest()[:16]


@torch.no_grad()
def _compute(module: nn.Module, tap: FeatureTap, inputs: Inputs, files: Mapping[str, Path]) -> int:
    module.eval()
    maps: dict[str, np.memmap[tuple[int, ...], np.dtype[np.float32]]] = {}
    temporary: dict[str, Path] = {}
    total = 0
    for part in inputs.split(BATCH):
        logits = module(part)
        values = {"logits": logits, **tap.take()}
        if not total:
            size = sum(values[s].nbytes for s in files) * len(inputs) // len(part)
            if size > ON_DISK_BYTES:
                return 0
            for signal, file in files.items():
                handle, text = tempfile.mkstemp(dir=file.parent, suffix=".part")
                os.close(handle)
                temporary[signal] = Path(text)
                shape = (len(inputs), *values[signal].shape[1:])
                maps[signal] = np.lib.format.open_memmap(text, mode="w+", dtype=np.float32, shape=shape)
        for signal in files:
            maps[signal][total : total + len(part)] = values[signal].float().cpu().numpy()
        total += len(part)
    for signal, file in files.items():
        maps[signal].flush()
        temporary[signal].replace(file)
    return total


def _load(file: Path, device: torch.device) -> Tensor:
    small = file.stat().st_size <= IN_MEMORY_BYTES
    if small:
        return torch.from_numpy(np.load(file)).to(device)
    return torch.from_numpy(np.load(file, mmap_mode="c"))
