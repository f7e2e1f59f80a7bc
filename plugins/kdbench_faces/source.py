"""Where the face embedding's weights are on this machine."""

from __future__ import annotations

from pathlib import Path

import kdbench
from kdbench_faces import FACE_API


def weights_directory() -> Path:
    """The directory of the manifest. Raises: DataNotAvailable, with the command that fetches it."""
    return kdbench.source_path(FACE_API) / "package" / "model"
