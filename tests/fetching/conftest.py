"""A cache of each test's own, a stand-in for npm, and a package index and a hub on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from archives import StubClient, only_pip_index, sha256
from hub_server import Hub


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made_by_two(tmp_path: Path) -> Callable[[str], tuple[list[str], str]]:
    """Run code in two processes at once: what each prints, and what they wrote to the file sys.argv[1]."""

    def run(code: str) -> tuple[list[str], str]:
        log = tmp_path / "log"
        both = [
            subprocess.Popen([sys.executable, "-c", code, str(log)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        return [process.communicate()[0] for process in both], log.read_text()

    return run


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubClient:
    stub = StubClient(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return stub


class Index:
    """A package index in a directory: `/simple/NAME/` names the files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def publish(self, name: str, file: str, content: bytes) -> None:
        page = self._directory / "simple" / name
        page.mkdir(parents=True, exist_ok=True)
        (self._directory / file).write_bytes(content)
        listed = page / "index.html"
        line = f'<a href="../../{file}#sha256={sha256(content)}">{file}</a>\n'
        listed.write_text((listed.read_text() if listed.exists() else "") + line)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    directory = tmp_path / "index"
    directory.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *arguments):
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Quiet)) as port:
        only_pip_index(monkeypatch, f"http://127.0.0.1:{port}/simple/")
        yield Index(directory)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The only hub that the client knows."""
    made = Hub()
    with serving(made.start()) as port:
        for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
        yield made


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Run a server in a thread; its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
