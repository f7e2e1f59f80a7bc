"""The server of a watched page: GET and HEAD on 127.0.0.1, three addresses, nothing of the file system.

`/` is the page, without runs; `/runs?after=VERSION` the runs as soon as they are others than those of that version, as
JSON, or 204 where nothing is new for a while; `/details?row=KEY` the curves of a row's runs, as JSON.
"""

from __future__ import annotations

import errno
import gzip
import os
import socketserver
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from kdbench.durable import reason
from kdbench.errors import UsageError
from kdbench.report.live.snapshots import Snapshots
from kdbench.report.page.document import render_live_page

ADDRESS = "127.0.0.1"
NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
"""What a browser may call this machine, on any port, as a tunnel may lead here: a page of another name that was made to
lead here by its own DNS is not answered."""
PATIENCE = 20.0
"""Seconds that a page's question stays open while nothing is new."""
_FAREWELL_SECONDS, _LATE_SECONDS = 1.0, 0.2
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageServer(ThreadingHTTPServer):
    """Serves the page and what `snapshots` finds.

    Args:
        snapshots: where the runs come from.
        port: 0 for a free one.

    Raises: UsageError where the port cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # elsewhere it would share a port that is in use

    def __init__(self, snapshots: Snapshots, port: int) -> None:
        self.snapshots = snapshots
        document, policy = render_live_page()
        self.document, self.policy = document.encode(), f"{policy}; frame-ancestors 'none'"
        self._talks, self._open_talks, self._quiet = Condition(), 0, False
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            why = "another program serves there" if error.errno == errno.EADDRINUSE else reason(error)
            raise UsageError(
                f"--port {port} cannot be had on {ADDRESS}", why, "leave --port out for a free one, or choose another"
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind without asking the DNS for this machine's name, as HTTPServer would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; `farewell` waits for it."""
        with self._talks:
            self._open_talks += 1
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """Close a connection, which was answered or not."""
        super().close_request(request)
        with self._talks:
            self._open_talks -= 1
            self._talks.notify_all()

    def farewell(self) -> None:
        """Tell the open pages that this is the end, those too that ask at this very moment, and close."""
        self.snapshots.end()
        self.timeout, until = _LATE_SECONDS, time.monotonic() + _FAREWELL_SECONDS
        while not self._quiet and time.monotonic() < until:
            self.handle_request()
        self.server_close()
        with self._talks:
            self._talks.wait_for(lambda: not self._open_talks, _FAREWELL_SECONDS)

    def handle_timeout(self) -> None:
        """Nobody asks any more."""
        self._quiet = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about browsers that go away; report anything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = 30
    """Seconds in which a client that connected must have asked."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD are answered", Allow="GET, HEAD")

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def version_string(self) -> str:
        return "kdbench"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As plain text, with the headers of every other answer, and without what was asked."""
        self._say(HTTPStatus(code), HTTPStatus(code).phrase)

    def _answer(self) -> None:
        if not self._for_this_machine():
            self._say(HTTPStatus.FORBIDDEN, f"only {', '.join(sorted(NAMES))} are answered")
            return
        asked = urlsplit(self.path)
        query = parse_qs(asked.query)
        match asked.path:
            case "/" if not asked.netloc:
                headers = {"Content-Security-Policy": self.server.policy}
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.document, headers)
            case "/runs":
                self._runs(query.get("after", [""])[0])
            case "/details":
                found = self.server.snapshots.details(query.get("row", [""])[0])
                self._json(gzip.compress(msgspec.json.encode(found), 1))
            case "/favicon.ico":
                self._send(HTTPStatus.NO_CONTENT, "", b"")
            case _:
                self._say(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _runs(self, after: str) -> None:
        snapshots = self.server.snapshots
        found = snapshots.newer_than(after, PATIENCE if self.command == "GET" else 0)
        if snapshots.ended:
            self._json(gzip.compress(b'{"ended":true}'))
        elif found is None:
            self._send(HTTPStatus.NO_CONTENT, "", b"")
        else:
            self._json(found.body)

    def _for_this_machine(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        try:
            return len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in NAMES
        except ValueError:
            return False

    def _json(self, packed: bytes) -> None:
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self._send(HTTPStatus.OK, "application/json", packed, {"Content-Encoding": "gzip"})
        else:
            self._send(HTTPStatus.OK, "application/json", gzip.decompress(packed))

    def _say(self, status: HTTPStatus, text: str, **headers: str) -> None:
        self._send(status, "text/plain; charset=utf-8", f"{text}\n".encode(), headers)

    def _send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (_HEADERS | {"Content-Security-Policy": "default-src 'none'"} | (headers or {})).items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
