"""Fetching: what came is what was pinned, and whatever is killed, offline or wrong leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec
import pytest
from archives import CONTENT, StubClient, npm_source, only_pip_index, sha256, tgz, wheel

import kdbench
from kdbench.errors import ClientMissing, DamagedArchive, FetchError, Offline, PluginError, VersionGone, WrongChecksum
from kdbench.fetching.cache import directory, is_here, manifest
from kdbench.fetching.fetch import damage, fetch

ARCHIVE = tgz(CONTENT)
SOURCE = npm_source(ARCHIVE)


def left(cache: Path) -> list[Path]:
    """Files in the cache beside its locks."""
    return [path for path in cache.rglob("*") if path.is_file() and path.parent.name != "locks"]


def distribution_without_pip(name: str):
    if name == "pip":
        raise PackageNotFoundError(name)
    return distribution(name)


def in_a_process(source: kdbench.Source, then: str = "", **options):
    code = (
        "import sys, msgspec, kdbench; from kdbench.fetching.fetch import fetch; "
        f"print(fetch(msgspec.json.decode(sys.argv[1], type=kdbench.Source))); {then}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, msgspec.json.encode(source).decode()], stdout=subprocess.PIPE, text=True, **options
    )


class TestNpm:
    def test_files_come_whole_and_are_found(self, npm):
        assert fetch(SOURCE) is True
        path = kdbench.source_path(SOURCE)
        assert (path / "package/data/a.txt").read_bytes() == b"first"
        assert not (path / "package/code.js").exists()
        assert damage(SOURCE) == []

    def test_its_scripts_are_not_run(self, npm):
        fetch(SOURCE)
        assert npm.calls[0].startswith("pack @words/data@1.0.0 ")
        assert "--ignore-scripts" in npm.calls[0]

    def test_what_is_here_is_not_fetched_again_unless_asked(self, npm):
        fetch(SOURCE)
        assert fetch(SOURCE) is False
        assert len(npm.calls) == 1
        (kdbench.source_path(SOURCE) / "package/data/a.txt").write_bytes(b"changed")
        assert fetch(SOURCE, fresh=True) is True
        assert damage(SOURCE) == []

    def test_the_same_archive_for_other_files_is_another_source(self, npm):
        other = npm_source(ARCHIVE, ("package/code.js",))
        fetch(SOURCE)
        fetch(other)
        assert (kdbench.source_path(other) / "package/code.js").is_file()
        assert not (kdbench.source_path(SOURCE) / "package/code.js").exists()

    def test_bytes_are_reported_while_they_come(self, npm):
        npm.brings(ARCHIVE, first='head -c 5000 /dev/zero > "$into/part"; sleep 0.5; rm "$into/part"')
        reported: list[int] = []
        fetch(SOURCE, reported.append)
        assert max(reported) >= 5000

    def test_another_archive_is_refused_with_both_hashes(self, npm, cache):
        npm.brings(tgz({"package/data/a.txt": b"other"}))
        with pytest.raises(WrongChecksum, match=rf"(?s)npm @words/data@1\.0\.0.*{SOURCE.sha256}.*found [0-9a-f]{{64}}"):
            fetch(SOURCE)
        assert left(cache) == []

    def test_an_archive_that_cannot_be_read(self, npm, cache):
        npm.brings(b"\x1f\x8b no archive")
        with pytest.raises(DamagedArchive, match=r"words-data-1\.0\.0\.tgz cannot be extracted"):
            fetch(npm_source(b"\x1f\x8b no archive"))
        assert left(cache) == []

    @pytest.mark.parametrize(
        ("said", "error"),
        [
            ("npm error code ENOTFOUND\nnpm error network request failed", Offline),
            ("npm error code ECONNREFUSED", Offline),
            ("npm error code ETARGET\nnpm error notarget No matching version found", VersionGone),
            ("npm error code E404\nnpm error 404 Not Found - GET", VersionGone),
            ("npm error code ENOSPC", FetchError),
            ("", FetchError),
        ],
    )
    def test_its_failures_are_told_apart(self, npm, cache, said, error):
        npm.fails(said)
        with pytest.raises(FetchError, match=r"npm pack @words/data@1\.0\.0") as caught:
            fetch(SOURCE)
        assert type(caught.value) is error
        assert left(cache) == []

    def test_not_installed(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ClientMissing, match=r"(?s)npm is not installed.*install Node\.js"):
            fetch(SOURCE)

    def test_no_archive_came(self, npm):
        npm.brings(ARCHIVE, first="exit 0")
        with pytest.raises(FetchError, match="one archive was expected, no file came"):
            fetch(SOURCE)


class TestWhateverHappens:
    def test_killed_in_the_middle_it_leaves_nothing_that_is_seen_and_can_be_done_again(self, npm, cache):
        npm.brings(ARCHIVE, first='head -c 100 /dev/zero > "$into/part"; sleep 30')
        process = in_a_process(SOURCE, start_new_session=True)
        wait_for(lambda: any(path.name == "part" for path in cache.rglob("*")))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not is_here(SOURCE)
        with pytest.raises(kdbench.DataNotAvailable):
            kdbench.source_path(SOURCE)
        npm.brings(ARCHIVE)
        assert fetch(SOURCE) is True
        assert list((cache / "tmp").iterdir()) == []
        assert damage(SOURCE) == []

    def test_two_at_once_fetch_it_once(self, npm):
        npm.brings(ARCHIVE, first="sleep 0.5")
        both = [in_a_process(SOURCE) for _ in range(2)]
        assert sorted(process.communicate()[0].strip() for process in both) == ["False", "True"]
        assert len(npm.calls) == 1

    def test_a_verified_download_is_not_repeated_after_an_interruption(self, npm, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("kdbench.fetching.fetch.extract", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch(SOURCE)
        assert not is_here(SOURCE)
        npm.fails("npm error code ENOTFOUND")
        assert fetch(SOURCE) is True
        assert damage(SOURCE) == []

    def test_a_kept_download_that_is_damaged_is_downloaded_again(self, npm, cache, monkeypatch):
        kept = cache / "downloads" / directory(SOURCE).name
        kept.mkdir(parents=True)
        (kept / "words-data-1.0.0.tgz").write_bytes(ARCHIVE[:-5])
        fetch(SOURCE)
        assert len(npm.calls) == 1
        assert damage(SOURCE) == []
        assert list((cache / "downloads").iterdir()) == []

    def test_a_cache_that_cannot_be_written(self, npm, cache):
        cache.write_text("a file")
        with pytest.raises(FetchError, match=r"(?s)the data cache cannot be written.*set KDBENCH_CACHE"):
            fetch(SOURCE)


class TestPip:
    def test_a_wheel(self, index):
        content = wheel(
            {
                "words/data/a.csv": b"1,2",
                "words-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: words\nVersion: 1.0\n",
                "words-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                "words-1.0.dist-info/RECORD": b"",
            }
        )
        index.publish("words", "words-1.0-py3-none-any.whl", content)
        source = kdbench.Source("pypi", "words", "1.0", sha256=sha256(content), files=("words/data/*",))
        fetch(source)
        assert (kdbench.source_path(source) / "words/data/a.csv").read_bytes() == b"1,2"

    @pytest.mark.parametrize("with_backend", [False, True])
    def test_an_sdist_is_taken_without_running_anything_of_it(self, index, tmp_path, with_backend):
        ran = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n".encode()
        members = {
            "words-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: words\nVersion: 1.0\n",
            "words-1.0/setup.py": ran,
            "words-1.0/words/pos.txt": b"good",
        }
        if with_backend:
            toml = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            members |= {"words-1.0/pyproject.toml": toml, "words-1.0/backend.py": ran}
        content = tgz(members)
        index.publish("words", "words-1.0.tar.gz", content)
        source = kdbench.Source("pypi", "words", "1.0", sha256=sha256(content), files=("words-1.0/words/*.txt",))
        fetch(source)
        assert (kdbench.source_path(source) / "words-1.0/words/pos.txt").read_bytes() == b"good"
        assert not (tmp_path / "ran").exists()

    def test_the_process_can_compile_extensions_afterwards(self, index):
        metadata = b"Metadata-Version: 2.1\nName: words\nVersion: 1.0\n"
        content = tgz({"words-1.0/PKG-INFO": metadata, "words-1.0/setup.py": b""})
        index.publish("words", "words-1.0.tar.gz", content)
        source = kdbench.Source("pypi", "words", "1.0", sha256=sha256(content), files=("words-1.0/*",))
        process = in_a_process(source, then="import setuptools")
        assert process.communicate()[0] == "True\n"
        assert process.returncode == 0

    def test_without_pip(self, monkeypatch):
        monkeypatch.setattr("kdbench.fetching.clients.distribution", distribution_without_pip)
        with pytest.raises(ClientMissing, match=r"(?s)has no pip.*ensurepip"):
            fetch(kdbench.Source("pypi", "words", "1.0", sha256="0" * 64, files=("*",)))

    def test_another_file_than_the_pinned_one(self, index, cache):
        content = tgz({"words-1.0/setup.py": b""})
        index.publish("words", "words-1.0.tar.gz", content)
        source = kdbench.Source("pypi", "words", "1.0", sha256="0" * 64, files=("*",))
        with pytest.raises(WrongChecksum, match=rf"(?s)expected sha256 {'0' * 64}, found {sha256(content)}"):
            fetch(source)
        assert left(cache) == []

    def test_a_version_that_is_gone(self, index):
        index.publish("words", "words-2.0.tar.gz", tgz({"words-2.0/setup.py": b""}))
        source = kdbench.Source("pypi", "words", "1.0", sha256="0" * 64, files=("*",))
        with pytest.raises(VersionGone, match=r"(?s)pypi words@1\.0 is not in the registry.*from versions: 2\.0"):
            fetch(source)

    def test_offline(self, monkeypatch):
        only_pip_index(monkeypatch, "http://127.0.0.1:9/simple/")
        source = kdbench.Source("pypi", "words", "1.0", sha256="0" * 64, files=("*",))
        with pytest.raises(Offline, match=r"(?s)pip cannot reach its registry.*pip download --no-deps words==1\.0"):
            fetch(source)


class TestApt:
    @pytest.mark.parametrize(
        ("said", "error", "message"),
        [
            ("E: Version '1' for 'words' was not found", VersionGone, "apt-get update, then again"),
            ("E: Unable to locate package words", VersionGone, "apt-get update, then again"),
            (
                "Err:1 http://x\n  Could not connect to x (127.0.0.1)\nE: Failed to fetch",
                Offline,
                "apt-get cannot reach",
            ),
            ("Temporary failure resolving 'x'\nE: Failed to fetch", Offline, "apt-get download words=1"),
        ],
    )
    def test_its_failures_are_told_apart(self, tmp_path, monkeypatch, said, error, message):
        StubClient(tmp_path / "bin", "apt-get").fails(said, 100)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        source = kdbench.Source("apt", "words", "1", sha256="0" * 64, files=("*",))
        with pytest.raises(error, match=message):
            fetch(source)


class TestDamage:
    def test_a_changed_and_a_removed_file_are_named_with_their_hashes(self, npm):
        fetch(SOURCE)
        path = kdbench.source_path(SOURCE)
        (path / "package/data/a.txt").write_bytes(b"First")
        (path / "package/data/deep/b.txt").unlink()
        changed, removed = damage(SOURCE)
        assert changed.endswith(f"a.txt: expected sha256 {sha256(b'first')}, found {sha256(b'First')}")
        assert removed.endswith("b.txt: No such file or directory")

    def test_a_manifest_that_cannot_be_read(self, npm):
        fetch(SOURCE)
        (directory(SOURCE) / "manifest.json").write_text("{")
        assert "manifest.json cannot be read" in damage(SOURCE)[0]

    def test_the_manifest_tells_the_source(self, npm):
        fetch(SOURCE)
        assert manifest(SOURCE).source == SOURCE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client": "conda"}, "unknown client 'conda'"),
        ({"name": "--index-url=x"}, "is no name or version"),
        ({"version": "1 2"}, "is no name or version"),
        ({"sha256": "abc"}, "is not 64 lower-case hexadecimal digits"),
        ({"files": ()}, "at least one"),
        ({"files": "data/*"}, "must be a tuple"),
    ],
)
def test_a_source_that_cannot_be(changes, message):
    with pytest.raises(PluginError, match=message):
        kdbench.Source(
            **({"client": "npm", "name": "a", "version": "1", "sha256": "0" * 64, "files": ("*",)} | changes)
        )


def wait_for(condition, seconds: float = 20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
