"""A local hub: as much of the Hugging Face hub's interface as a download needs, over real HTTP.

Repositories are folders, each at one commit; requests are kept in `asked`.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

KINDS = {"models": "", "datasets": "datasets/"}


@dataclass
class Hub:
    """repositories: folder and commit by kind and name, as in `models/owner/tiny`. gated: those that need a licence."""

    repositories: dict[str, tuple[Path, str]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def add(self, name: str, folder: Path) -> str:
        """Adds a folder as a repository; returns its commit."""
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        commit = hashlib.sha1(b"".join(file.read_bytes() for file in files)).hexdigest()
        self.repositories[name] = folder, commit
        return commit

    def downloads(self) -> list[str]:
        """Names of the files whose content was fetched, in order."""
        return [path.rpartition("/")[2] for path in self.asked if path.startswith("GET") and "/resolve/" in path]


@contextmanager
def running() -> Iterator[Hub]:
    """Runs a hub while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        for name, (folder, commit) in self.hub.repositories.items():
            kind, _, owned = name.partition("/")
            if found := re.fullmatch(rf"/api/{name}(?:/revision/([^/]+))?", path):
                return self._known(found[1], commit) and self._json(self._about(owned, folder, commit))
            if found := re.fullmatch(rf"/api/{name}/tree/([^/]+)(?:/.*)?", path):
                return self._known(found[1], commit) and self._json([*self._entries(folder)])
            if found := re.fullmatch(rf"/{KINDS[kind]}{owned}/resolve/([^/]+)/(.+)", path):
                return self._known(found[1], commit) and self._file(name, folder / found[2], commit)
        self._refuse(401, "RepoNotFound")  # the real hub's answer to an anonymous user

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Answers `paths-info`: which of the given paths exist."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"POST {path}")
        for name, (folder, _) in self.hub.repositories.items():
            if path.startswith(f"/api/{name}/paths-info/"):
                wanted = set(json.loads(body)["paths"])
                return self._json([entry for entry in self._entries(folder) if entry["path"] in wanted])
        self._refuse(404, "EntryNotFound")

    def _known(self, revision: str | None, commit: str) -> bool:
        if revision not in (None, "main", commit):
            self._refuse(404, "RevisionNotFound")
            return False
        return True

    def _about(self, name: str, folder: Path, commit: str) -> dict:
        siblings = [{"rfilename": entry["path"]} for entry in self._entries(folder)]
        return {"id": name, "sha": commit, "siblings": siblings, "private": False, "gated": False, "tags": []}

    def _entries(self, folder: Path) -> Iterator[dict]:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                oid = hashlib.sha1(file.read_bytes()).hexdigest()
                yield {"type": "file", "path": str(file.relative_to(folder)), "size": file.stat().st_size, "oid": oid}

    def _file(self, name: str, file: Path, commit: str) -> None:
        if name in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        content = file.read_bytes()
        self._answer(200, content, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Keeps the server off the screen."""
