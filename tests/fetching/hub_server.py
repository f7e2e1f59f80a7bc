"""A hub on loopback that speaks as much of the Hugging Face hub's protocol as its own client asks for."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from archives import sha256


class Hub:
    """Datasets by name, each with commits; `main` is the last. Of `.parquet` files the SHA-256 is stated.

    Args:
        gated: files are for those who are logged in.
        broken: paths that are answered with 403.
        replaced: content that is served under a path in the place of what was published.
    """

    def __init__(self) -> None:
        self.gated = False
        self.broken: set[str] = set()
        self.replaced: dict[str, bytes] = {}
        self.served: list[str] = []
        self._commits: dict[str, dict[str, dict[str, bytes]]] = {}

    def publish(self, name: str, files: dict[str, bytes]) -> str:
        """Make a commit of a dataset; its hash."""
        commits = self._commits.setdefault(name, {})
        commit = hashlib.sha1(json.dumps([name, len(commits), sorted(files)]).encode()).hexdigest()
        commits[commit] = files
        return commit

    def remove(self, name: str, commit: str) -> None:
        del self._commits[name][commit]

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path without its query."""
        kind, _, rest = path.strip("/").partition("/")
        owner, name, what, revision, *below = (rest if kind == "datasets" else rest.partition("/")[2]).split("/")
        commits = self._commits.get(f"{owner}/{name}")
        if commits is None:
            return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
        commit = list(commits)[-1] if revision == "main" and commits else revision
        if commit not in commits:
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b""
        files = commits[commit]
        if what == "revision":
            siblings = [{"rfilename": file, **_described(content, file, "sha256")} for file, content in files.items()]
            body = {"id": f"{owner}/{name}", "sha": commit, "private": False, "siblings": siblings}
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        if what == "tree":
            listed = [
                {"type": "file", "path": file, **_described(content, file, "oid")} for file, content in files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()
        return self._file(commit, "/".join(below), files)

    def _file(self, commit: str, file: str, files: dict[str, bytes]) -> tuple[int, dict[str, str], bytes]:
        if self.gated:
            return 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b""
        if file in self.broken:
            return 403, {}, b""
        content = self.replaced.get(file, files[file])
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{sha256(files[file])}"'}, content

    def start(self) -> ThreadingHTTPServer:
        """The server, to be run in a thread."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def _answer(self, *, with_body: bool) -> None:
                path = unquote(urlsplit(self.path).path)
                status, headers, body = hub.answer(path)
                if with_body and "/resolve/" in path and status == 200:
                    hub.served.append(path.rpartition("/")[2])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def _described(content: bytes, file: str, hash_name: str) -> dict[str, object]:
    stated = {"size": len(content), "oid": hashlib.sha1(content).hexdigest(), "blobId": "0" * 40}
    if file.endswith(".parquet"):
        stated["lfs"] = {hash_name: sha256(content), "size": len(content), "pointerSize": 100}
    return stated
