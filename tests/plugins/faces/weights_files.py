"""Weights in TensorFlow.js's format, written small: a manifest, and bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from kdbench_faces.weights import MANIFEST

Entry = dict[str, object]


def entry(name: str, shape: list[int], *, scale: float | None = None, low: float = 0.0) -> Entry:
    """A tensor of the manifest; with a scale it is stored as bytes."""
    quantised = {} if scale is None else {"quantization": {"dtype": "uint8", "scale": scale, "min": low}}
    return {"name": name, "shape": shape, "dtype": "float32", **quantised}


def write_weights(directory: Path, entries: list[Entry], seed: int = 0) -> dict[str, np.ndarray]:
    """Random numbers for every entry; what each tensor is to be read as."""
    random = np.random.default_rng(seed)
    content, expected = b"", {}
    for one in entries:
        shape, how = one["shape"], one.get("quantization")
        count = math.prod(shape)
        if how is None:
            stored = random.normal(size=count).astype("<f4")
            values = stored
        else:
            stored = random.integers(0, 256, count).astype(np.uint8)
            levels = np.array([level * how["scale"] + how["min"] for level in range(256)])
            values = levels[stored]
        content += stored.tobytes()
        expected[one["name"]] = np.asarray(values, np.float32).reshape(shape)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "numbers.bin").write_bytes(content)
    (directory / MANIFEST).write_text(json.dumps([{"paths": ["numbers.bin"], "weights": entries}]))
    return expected


def layer_entries(path: str, kernel: int, channels_in: int, channels_out: int) -> list[Entry]:
    shapes = {
        "conv/filters": [kernel, kernel, channels_in, channels_out],
        "conv/bias": [channels_out],
        "scale/weights": [channels_out],
        "scale/biases": [channels_out],
    }
    return [entry(f"{path}/{name}", shape, scale=1e-3, low=-0.1) for name, shape in shapes.items()]


def network_entries() -> list[Entry]:
    """The manifest of the whole face embedding, by the names that the package gives."""
    entries = layer_entries("conv32_down", 7, 3, 32)
    for width, blocks in ((32, "1 2 3"), (64, "down 1 2 3"), (128, "down 1 2"), (256, "down 1 2 down_out")):
        for block in blocks.split():
            inside = width // 2 if block == "down" else width
            entries += layer_entries(f"conv{width}_{block}/conv1", 3, inside, width)
            entries += layer_entries(f"conv{width}_{block}/conv2", 3, width, width)
    return [*entries, entry("fc", [256, 128], scale=1e-3, low=-0.1)]
