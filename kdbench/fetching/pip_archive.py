"""Run `pip download` for one pinned archive, and stop before pip starts anything that the archive holds.

pip asks an sdist for its metadata by running its build in a process of its own. That process is refused here: at the
first one that pip would start once the archive is complete, the archive is copied out and pip ends.

    python -P pip_archive.py SHA256 DIRECTORY download ARGUMENTS...      (TMPDIR: a directory of this run alone)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

_SUFFIXES = (".gz", ".tgz", ".zip", ".bz2", ".xz", ".whl")
_STARTS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile"}


def main(sha256: str, directory: str, *arguments: str) -> int:
    """Run pip with the arguments; the archive is then in the directory. Returns pip's exit code."""
    from pip._internal.cli.main import main as pip

    scratch = Path(tempfile.gettempdir())

    def before(event: str, _: tuple[Any, ...]) -> None:
        if event not in _STARTS:
            return
        for path in scratch.rglob("*"):
            if path.name.endswith(_SUFFIXES) and path.is_file() and _hash(path) == sha256:
                shutil.copy(path, Path(directory) / path.name)
                os._exit(0)

    sys.addaudithook(before)
    return pip(list(arguments))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
