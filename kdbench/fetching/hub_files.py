"""Download files of one revision of a dataset of the hub, by the library that `datasets` downloads with.

    python -P hub_files.py NAME REVISION DIRECTORY ANSWER GLOB...

Files that came whole before, into the same directory, do not come again. The commit, and the SHA-256 that the hub
states of each file (null of small ones, which it keeps as text), are written to ANSWER as JSON.
"""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path


def main(name: str, revision: str, directory: str, answer: str, *globs: str) -> None:
    """Resolve the revision, then download what matches a glob. Raises: the library's own errors."""
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().dataset_info(name, revision=revision, files_metadata=True)
    wanted = {
        file.rfilename: file.lfs.sha256 if file.lfs else None
        for file in info.siblings or ()
        if any(fnmatchcase(file.rfilename, glob) for glob in globs)
    }
    snapshot_download(
        name, repo_type="dataset", revision=info.sha, local_dir=directory, allow_patterns=list(globs)
    )  # fmt: skip
    absent = [file for file in wanted if not (Path(directory) / file).is_file()]
    if absent:  # where the network goes away meanwhile, the library is content with what there is
        raise ConnectionError(f"Connection failed before {absent[0]} came")
    Path(answer).write_text(json.dumps({"commit": info.sha, "files": wanted}), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as failed:  # noqa: BLE001 - every error of the library, and what it was raised from, a line each
        error: BaseException | None = failed
        while error is not None:
            sys.stderr.write(f"error: {type(error).__name__}: {' '.join(str(error).split())}\n")
            error = error.__cause__ or error.__context__
        sys.exit(1)
