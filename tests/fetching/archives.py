"""Small archives in the formats that the clients bring, and clients that bring them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import kdbench

CONTENT = {"package/data/a.txt": b"first", "package/data/deep/b.txt": b"second", "package/code.js": b"exit()"}


def tgz(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A gzipped tar, the same bytes every time; `links`: symbolic links by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return gzip.compress(buffer.getvalue(), mtime=0)


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def deb(root: Path, members: dict[str, bytes]) -> Path:
    """A Debian package, made by Debian's own tool."""
    tree = root / "tree"
    for name, content in members.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: words\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: words\n"
    )
    made = root / "words_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(made)], check=True, capture_output=True)
    return made


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def npm_source(content: bytes, files: tuple[str, ...] = ("package/data/*",), **changes: str) -> kdbench.Source:
    return kdbench.Source("npm", "@words/data", "1.0.0", sha256=changes.get("sha256", sha256(content)), files=files)


class StubClient:
    """An executable that stands in for npm: what it brings, how it fails; `record` has a line for each call."""

    def __init__(self, directory: Path, name: str = "npm") -> None:
        self._directory = directory
        self._archive, self.record = directory / "archive.tgz", directory / "calls"
        self._script = directory / name
        directory.mkdir()
        self.brings(tgz(CONTENT))

    def brings(self, content: bytes, *, first: str = "") -> None:
        """Bring this archive; `first`: shell commands before, in which $into is the directory."""
        self._archive.write_bytes(content)
        self._write(f'{first}\ncp "{self._archive}" "$into/words-data-1.0.0.tgz"')

    def fails(self, says: str, code: int = 1) -> None:
        self._write(f"cat >&2 <<'SAID'\n{says}\nSAID\nexit {code}")

    @property
    def calls(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []

    def _write(self, body: str) -> None:
        into = "into=.\nfor each; do case $each in --pack-destination=*) into=${each#*=};; esac; done"
        self._script.write_text(f'#!/bin/sh\necho "$*" >> "{self.record}"\n{into}\n{body}\n')
        self._script.chmod(0o755)


def only_pip_index(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let pip know this index and nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_INDEX_URL", address)
