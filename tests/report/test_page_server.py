"""The server of a watched page: what it answers, to whom, and what it never does."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Event, Thread

import pytest
from page_runs import fill

from kdbench.errors import UsageError
from kdbench.report.live.following import FollowedStore, FollowedTimings
from kdbench.report.live.server import PageServer
from kdbench.report.live.snapshots import Shown, Snapshots
from kdbench.report.page.document import render_live_page
from kdbench.store import Store


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[PageServer]:
    store = Store.open(tmp_path_factory.mktemp("store"))
    fill(store, datasets=1, seeds=2)
    server = PageServer(Snapshots(FollowedStore(store.directory), FollowedTimings([]), Shown(), print), 0)
    serving = Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield server
    server.shutdown()
    server.farewell()
    serving.join()


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response, response.read()


def test_it_listens_on_this_machine_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_the_page_may_connect_to_its_own_server_and_nowhere_else(server):
    response, body = ask(server, "/")
    document, policy = render_live_page()
    assert (response.status, body.decode()) == (200, document)
    sent = response.headers["Content-Security-Policy"]
    assert sent == f"{policy}; frame-ancestors 'none'"
    directives = dict(each.strip().split(" ", 1) for each in sent.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert "unsafe" not in sent
    assert f'content="{policy}"' in document
    assert 'id="overview"' not in document


@pytest.mark.parametrize("path", ["/", "/runs?after=", "/details?row=x", "/nothing"])
def test_every_answer_is_fresh_typed_and_for_this_origin(server, path):
    headers = ask(server, path)[0].headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


def test_runs_come_packed_or_plain_and_a_known_version_is_not_sent_again(server):
    response, packed = ask(server, "/runs?after=", Accept_Encoding="gzip, br")
    assert response.headers["Content-Encoding"] == "gzip"
    plain, body = ask(server, "/runs?after=old")
    assert plain.headers["Content-Encoding"] is None
    assert json.loads(gzip.decompress(packed)) == json.loads(body)
    version = json.loads(body)["version"]
    head, nothing = ask(server, f"/runs?after={version}", "HEAD")
    assert (head.status, nothing) == (204, b"")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "", "[::1", "192.168.0.1", "0.0.0.0"],
)
@pytest.mark.parametrize("path", ["/", "/runs?after=", "/details?row=x"])
def test_a_host_of_another_name_is_not_answered(server, host, path):
    response, body = ask(server, path, Host=host)
    assert response.status == 403
    assert b"data0" not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8888", "LOCALHOST", "[::1]:80"])
def test_this_machine_may_be_called_by_its_names_through_a_tunnel_too(server, host):
    assert ask(server, "/", Host=host)[0].status == 200


def test_two_hosts_are_none(server):
    with socket.create_connection(("127.0.0.1", server.server_port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.0 403 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_and_head_are_answered(server, method):
    response, body = ask(server, "/", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert body == b"GET and HEAD are answered\n"
    assert ask(server, "/", "BREW")[0].status == 501


@pytest.mark.parametrize(
    "path",
    [
        "/runs/",
        "/index.html",
        "/../kdbench-store.json",
        "/kdbench-store.json",
        "//etc/passwd",
        "/%2e%2e/etc/passwd",
        "/.",
    ],
)
def test_nothing_of_the_file_system_is_served(server, path):
    response, body = ask(server, path)
    assert (response.status, body) == (404, b"there is nothing here\n")


def test_head_has_the_length_and_no_body(server):
    (head, body), (get, whole) = ask(server, "/", "HEAD"), ask(server, "/")
    assert body == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(whole))


@pytest.mark.parametrize("line", [b"<script>", b"<script> / HTTP/1.1", b"GET /<script> HTTP/9.9", b"GET / <script>"])
def test_what_is_no_request_is_refused_without_being_repeated(server, line):
    with socket.create_connection(("127.0.0.1", server.server_port)) as plain:
        plain.sendall(line + b"\r\n\r\n")
        answer = plain.makefile("rb").read()
    assert b"script" not in answer
    assert b"text/html" not in answer
    assert re.search(b"Bad Request|Not Implemented|HTTP Version Not Supported", answer)


def test_a_port_in_use_is_one_error_with_its_number(server):
    with pytest.raises(UsageError, match=f"--port {server.server_port} cannot be had") as error:
        PageServer(server.snapshots, server.server_port)
    assert "another program serves there" in str(error.value)
    assert "leave --port out" in str(error.value)


def test_the_end_is_told_to_pages_that_ask(tmp_path):
    asked = Event()

    class Asked(Snapshots):
        def newer_than(self, version, patience):
            asked.set()
            return super().newer_than(version, patience)

    snapshots = Asked(FollowedStore(tmp_path), FollowedTimings([]), Shown(), print)
    server = PageServer(snapshots, 0)
    serving = Thread(target=server.serve_forever, daemon=True)
    serving.start()
    answers = []
    path = f"/runs?after={snapshots.current().version}"
    asking = Thread(target=lambda: answers.append(ask(server, path)[1]), daemon=True)
    asking.start()
    assert asked.wait(60)
    server.shutdown()
    server.farewell()
    for thread in (serving, asking):
        thread.join(60)
    assert [json.loads(answer) for answer in answers] == [{"ended": True}]
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/")
