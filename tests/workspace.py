"""As much of a Databricks workspace as the `databricks bundle` commands ask for, on the loopback.

It keeps what it is given: files, jobs, schemas and volumes, and their permissions. A route that it
does not know answers 501, so that a test cannot pass by an answer that nobody thought of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

USER = "someone@example.com"
_OWNER = {"user_name": USER, "all_permissions": [{"permission_level": "CAN_MANAGE"}]}
_CATALOG = "/api/2.1/unity-catalog"
_FILES = "/api/2.0/workspace-files"


class Missing(Exception):
    """Nothing is there."""


class There(Exception):
    """Something is there already."""


class Unknown(Exception):
    """No such route."""


@dataclass
class Workspace:
    """What was deployed. `runs` are (job id, parameters) of what was started."""

    folders: dict[str, int] = field(default_factory=lambda: {"/Workspace": 1})
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    data: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    permissions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    grants: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    runs: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    address: str = ""
    _lock: Lock = field(default_factory=Lock)

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """What the API answers. Raises Missing and Unknown."""
        with self._lock:
            if path.startswith(_FILES):
                return self._file(method, path.removeprefix(_FILES), query, body)
            asked = {**query, **(json.loads(body) if body else {})}
            for prefix, handle in self._routes.items():
                if path.startswith(prefix):
                    return handle(method, path.removeprefix(prefix), asked)
            raise Unknown(f"{method} {path}")

    @property
    def _routes(self) -> dict[str, Callable[[str, str, dict[str, Any]], Any]]:
        return {
            "/.well-known/databricks-config": lambda *_: {},
            "/api/2.0/preview/scim/v2/Me": lambda *_: {"id": "1", "userName": USER},
            "/api/2.0/workspace/": self._folder,
            "/api/2.0/permissions/": self._permission,
            "/api/2.2/jobs/": self._job,
            f"{_CATALOG}/permissions/": self._grant,
            f"{_CATALOG}/": self._catalog,
        }

    def _file(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        if method == "POST":
            name = unquote(path.removeprefix("/import-file"))
            if name.rpartition("/")[0] not in self.folders:
                raise Missing(name)
            if name in self.files and query.get("overwrite") != "true":
                raise There(name)
            self.files[name] = body
            return {}
        if unquote(path) not in self.files:
            raise Missing(path)
        return self.files[unquote(path)]

    def _folder(self, method: str, step: str, asked: dict[str, Any]) -> Any:
        path = asked["path"]
        if step == "mkdirs":
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts) + 1):
                self.folders.setdefault("/" + "/".join(parts[:depth]), len(self.folders) + 1)
            return {}
        if step == "delete":
            within = (path, f"{path}/")
            for kept in (self.folders, self.files):
                for name in [name for name in kept if name == path or name.startswith(within[1])]:
                    del kept[name]
            return {}
        if step == "export":
            if path not in self.files:
                raise Missing(path)
            return self.files[path]
        if step == "get-status":
            if path in self.folders:
                number = self.folders[path]
                return {"path": path, "object_type": "DIRECTORY", "object_id": number}
            if path in self.files:
                return {"path": path, "object_type": "FILE", "object_id": 10_000}
            raise Missing(path)
        raise Unknown(f"{method} workspace/{step}")

    def _permission(self, method: str, name: str, asked: dict[str, Any]) -> Any:
        if method == "PUT":
            self.permissions[name] = [
                {**one, "all_permissions": [{"permission_level": one["permission_level"]}]}
                for one in asked["access_control_list"]
            ]
        given = self.permissions.get(name, [_OWNER])
        return {"object_id": f"/{name}", "access_control_list": given}

    def _grant(self, method: str, name: str, asked: dict[str, Any]) -> Any:
        granted = self.grants.setdefault(name, {})
        for change in asked.get("changes", []):
            kept = set(granted.get(change["principal"], [])) - set(change.get("remove") or [])
            granted[change["principal"]] = sorted(kept | set(change.get("add") or []))
        assigned = [
            {"principal": principal, "privileges": privileges}
            for principal, privileges in granted.items()
        ]
        return {"privilege_assignments": assigned}

    def _job(self, method: str, step: str, asked: dict[str, Any]) -> Any:
        if step == "create":
            number = max(self.jobs, default=0) + 1
            self.jobs[number] = asked
            return {"job_id": number}
        if step.startswith("runs/"):
            return self._run(int(asked["run_id"]), step)
        number = int(asked["job_id"])
        if number not in self.jobs:
            raise Missing(f"job {number}")
        if step == "get":
            settings = {"format": "MULTI_TASK", **self.jobs[number]}
            return {"job_id": number, "creator_user_name": USER, "settings": settings}
        if step == "reset":
            self.jobs[number] = asked["new_settings"]
            return {}
        if step == "delete":
            del self.jobs[number]
            return {}
        if step == "run-now":
            self.runs.append((number, asked.get("job_parameters", {})))
            return {"run_id": len(self.runs)}
        raise Unknown(f"{method} jobs/{step}")

    def _run(self, number: int, step: str) -> Any:
        """Every run has ended well by the time that somebody asks."""
        if step == "runs/get-output":
            return {"metadata": {}, "logs": ""}
        job = self.runs[number - 1][0]
        state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}
        tasks = [
            {"run_id": 100 * number + place, "task_key": task["task_key"], "state": state}
            for place, task in enumerate(self.jobs[job]["tasks"])
        ]
        page = f"{self.address}/jobs/{job}/runs/{number}"
        return {
            "run_id": number, "job_id": job, "state": state, "tasks": tasks,
            "run_page_url": page, "run_name": self.jobs[job]["name"],
        }  # fmt: skip

    def _catalog(self, method: str, rest: str, asked: dict[str, Any]) -> Any:
        kind, _, name = rest.partition("/")
        if kind not in ("schemas", "volumes"):
            raise Unknown(f"{method} {rest}")
        if method == "POST":
            parts = [asked[key] for key in ("catalog_name", "schema_name", "name") if key in asked]
            full = ".".join(parts)
            self.data[kind, full] = {**asked, "full_name": full, "owner": USER}
            return self.data[kind, full]
        found = self.data.get((kind, name))
        if found is None:
            raise Missing(name)
        if method == "PATCH":
            found.update(asked)
        if method == "DELETE":
            del self.data[kind, name]
        return found


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.workspace = Workspace(address=f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        workspace, parts = self.server.workspace, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(parts.query))
        try:
            found = workspace.answer(self.command, parts.path, query, body)
            self._send(200, found)
        except Missing as error:
            told = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"{error} is not there"}
            self._send(404, told)
        except There as error:
            told = {"error_code": "RESOURCE_ALREADY_EXISTS", "message": f"{error} is there"}
            self._send(409, told)
        except Unknown as error:
            workspace.unknown.append(str(error))
            self._send(501, {"error_code": "NOT_IMPLEMENTED", "message": str(error)})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _send(self, status: int, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Databricks-Org-Id", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def empty_workspace() -> Iterator[Workspace]:
    """A workspace to which nothing was deployed, at its `address`."""
    with _Server() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.workspace
        finally:
            server.shutdown()
