"""As much of a Databricks workspace as `databricks bundle validate` asks for, on the loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

USER = "someone@example.com"
_WORKSPACE = "/api/2.0/workspace"
_MISSING = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "nothing is there"}


class _Workspace(ThreadingHTTPServer):
    """Knows its user, and the folders that it was told to make."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folders = {"/Workspace"}

    def answer(self, path: str, asked: dict[str, str]) -> dict[str, object] | None:
        """What the API answers; None for what is not there."""
        if path == "/.well-known/databricks-config":
            return {}
        if path == "/api/2.0/preview/scim/v2/Me":
            return {"id": "1", "userName": USER}
        if path == f"{_WORKSPACE}/mkdirs":
            self.folders.add(asked["path"])
            return {}
        if path == f"{_WORKSPACE}/get-status" and asked["path"] in self.folders:
            return {"path": asked["path"], "object_type": "DIRECTORY", "object_id": 1}
        if path == "/api/2.0/permissions/directories/1":
            rights = [{"permission_level": "CAN_MANAGE"}]
            return {"access_control_list": [{"user_name": USER, "all_permissions": rights}]}
        return None


class _Handler(BaseHTTPRequestHandler):
    server: _Workspace

    def do_GET(self) -> None:
        self._answer(dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, asked: dict[str, str]) -> None:
        found = self.server.answer(urlsplit(self.path).path, asked)
        body = json.dumps(_MISSING if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def empty_workspace() -> Iterator[str]:
    """The address of a workspace to which nothing was deployed."""
    with _Workspace() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
