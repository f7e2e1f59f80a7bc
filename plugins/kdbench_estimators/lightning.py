"""LightningModules from their checkpoints."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

import kdbench
from kdbench_estimators.arguments import existing, split


def checkpoint(text: str, info: kdbench.DatasetInfo) -> nn.Module:
    """`MODULE:CLASS?ckpt=FILE`: the class made with the checkpoint's hyper-parameters, with its weights.

    CLASS may also be a function that returns the module; it takes those of the hyper-parameters that it names. Its
    `forward` gives logits (N, classes). It is a network like any other: it has features and gradients. Only tensors and
    plain values are read from the file, no code. A LightningModule to be trained here needs no scheme: as a teacher its
    import string, `MODULE:FACTORY`, serves.

    Raises: InvalidParameter for a class that is not there; ModelMismatch where the checkpoint does not fit it.
    """
    name = f"lightning:{text}"
    path, settings = split(text, f"teacher {name!r}", ("ckpt",))
    if "ckpt" not in settings:
        raise kdbench.InvalidParameter(f"teacher {name!r} names no checkpoint", fix=f"lightning:{path}?ckpt=FILE")
    make, file = _imported(name, path), existing(str(settings["ckpt"]), f"teacher {name!r}")
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        state = saved["state_dict"]
    except Exception as error:  # torch raises what its parts do
        raise kdbench.ModelMismatch(
            f"teacher {name!r}: the checkpoint cannot be read without running code, or is damaged",
            f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            "keep hyper-parameters to plain values, or save a state dict and use teacher_checkpoint=FILE",
        ) from error
    try:
        module: nn.Module = make(**_accepted(make, dict(saved.get("hyper_parameters", {}))))
        module.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise kdbench.ModelMismatch(
            f"teacher {name!r}: the checkpoint does not fit {path}", str(error)[:300]
        ) from error
    return module


def _imported(name: str, path: str) -> Any:
    from kdbench.catalog import import_target

    try:
        return import_target(path, f"teacher {name!r}")
    except kdbench.KdbenchError as error:
        raise kdbench.InvalidParameter(f"teacher {name!r}: {error}") from error


def _accepted(make: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Of the hyper-parameters those that it names, or all where it takes any."""
    named = inspect.signature(make).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in named.values()):
        return given
    return {key: value for key, value in given.items() if key in named}
