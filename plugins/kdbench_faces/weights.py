"""Weights in the format of TensorFlow.js: a JSON manifest, and files of raw numbers, some of them quantised."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench

MANIFEST = "face_recognition_model-weights_manifest.json"
_FIX = "kdbench data fetch face-embedding"
_STORED = {"uint8": "<u1", "uint16": "<u2", "float32": "<f4"}


def read_weights(directory: Path, manifest: str = MANIFEST) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a manifest by its name, float32, in the shape that the manifest gives.

    The files of a group are one stream of little-endian numbers in the manifest's order. A tensor with `quantization`
    is stored as whole numbers q of its `dtype`, and means q · scale + min.
    Raises: DataNotAvailable for a missing file; InvalidData, naming the file and the tensor, for a damaged one.
    """
    path = directory / manifest
    groups = _manifest(path)
    tensors: dict[str, NDArray[np.float32]] = {}
    for group in groups:
        content = b"".join(_content(directory / name) for name in group["paths"])
        start = 0
        for entry in group["weights"]:
            quantised = entry.get("quantization")
            stored = quantised["dtype"] if quantised else entry["dtype"]
            if stored not in _STORED:
                raise _damaged(path, f"tensor {entry['name']!r} is stored as {stored!r}, not {', '.join(_STORED)}")
            dtype, count = np.dtype(_STORED[stored]), math.prod(entry["shape"])
            end = start + count * dtype.itemsize
            if end > len(content):
                raise _damaged(
                    directory / group["paths"][-1],
                    f"it ends in tensor {entry['name']!r}: byte {end} is needed, {len(content)} are there",
                )
            values = np.frombuffer(content, dtype, count, start)
            if quantised:
                values = values * np.float64(quantised["scale"]) + quantised["min"]
            tensors[entry["name"]] = values.astype(np.float32).reshape(entry["shape"])
            start = end
        if start != len(content):
            raise _damaged(
                directory / group["paths"][-1], f"{len(content)} bytes, but the manifest's tensors take {start}"
            )
    return tensors


def _manifest(path: Path) -> list[dict[str, Any]]:
    try:
        groups: list[dict[str, Any]] = json.loads(_content(path))
        for group in groups:
            for entry in group["weights"]:
                _ = entry["name"], entry["shape"], entry["dtype"]
            _ = [str(name) for name in group["paths"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"it is not a manifest of weights: {type(error).__name__}: {error}") from error
    return groups


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise kdbench.DataNotAvailable(
            "the face embedding's weights are not on this machine", f"{path}: {error.strerror}", _FIX
        ) from error


def _damaged(path: Path, why: str) -> kdbench.InvalidData:
    return kdbench.InvalidData(f"{path} is damaged", why, _FIX)
