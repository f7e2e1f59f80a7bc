"""The arrays kept beside a record, as an .npz file."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdbench.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UNREADABLE = (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What `read_arrays` raises for a damaged file."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz file, the same bytes for the same arrays; numpy.load reads it.

    Raises: StoreError for a name or an array that cannot be kept.
    """
    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            if not _NAME.fullmatch(name) or name.endswith(".npy"):
                raise StoreError(f"{name!r} cannot name an array", "letters, digits, '_', '-' and '.' are allowed")
            content = io.BytesIO()
            try:
                np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            except ValueError as error:
                raise StoreError(f"the array {name!r} cannot be stored", str(error), "store numbers only") from error
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), content.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, by name; nothing in it is executed.

    Raises: OSError, or one of `UNREADABLE`.
    """
    import numpy as np

    with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
        return dict(arrays)
