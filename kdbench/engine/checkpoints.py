"""Reading and writing weights; nothing here ever unpickles code."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdbench.errors import CheckpointError


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict as safetensors."""
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}, path)


def load_weights(model: nn.Module, path: Path, model_name: str) -> None:
    """Load a .safetensors file, or a `torch.save`d state dict (read with weights_only=True), into the model.

    A state dict under the names that a model declares in `published_names` (theirs -> its own) is loaded by them.
    Raises: CheckpointError where the file is missing, truncated, holds code, or is of another architecture.
    """
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {str(path)!r} does not exist", fix="check the path of --set teacher_checkpoint=..."
        )
    state = _read(path)
    published: Mapping[str, str] = getattr(model, "published_names", {})
    if state.keys() <= published.keys():
        state = {published[name]: value for name, value in state.items()}
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise CheckpointError(
            f"checkpoint {str(path)!r} is not of model {model_name!r}",
            "; ".join(line.strip() for line in lines[1:4]) or lines[0],
            "name the architecture it was saved from",
        ) from error


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"checkpoint {str(path)!r} cannot be read",
                f"truncated or no safetensors file: {error}",
                "copy it again",
            ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {str(path)!r} was refused",
            f"it is not plain tensors (loading it would run code, or it is damaged): {_without_advice(error)}",
            "save a state dict as safetensors: safetensors.torch.save_file(model.state_dict(), ...)",
        ) from error
    except Exception as error:
        why = f"truncated, damaged, or no state dict: {type(error).__name__}: {_without_advice(error)}"
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be read", why, "copy it again") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"checkpoint {str(path)!r} holds no state dict", f"found {type(state).__name__}")
    return state


def _without_advice(error: Exception) -> str:
    """What torch found, without its advice to load the file unsafely."""
    lines = [line.partition(" In PyTorch 2.6")[0].strip() for line in str(error).splitlines()]
    found = " ".join(line for line in lines if line and not line.startswith(("Check the documentation", "(1)", "(2)")))
    return (found.rpartition("WeightsUnpickler error: ")[2] or found)[:200]


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of every parameter and buffer with its name, hex."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(
            value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            if value.ndim
            else str(value.item()).encode()
        )
    return digest.hexdigest()
