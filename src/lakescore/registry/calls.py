"""Calls to MLflow that end by a deadline, say what failed, and leave the process as it was."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lakescore.errors import LakescoreError, MissingExtra, RegistryUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

#: Making a local database runs every migration of MLflow: slow on a busy machine, never stuck.
_FIRST_OPENING_SECONDS = 180.0
#: Files travel longer than answers do.
TRANSFER_SECONDS = 1800.0
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"}
_EXISTS = {"RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"}
_NOISY_LOGGERS = ("mlflow", "alembic", "urllib3.connectionpool")
_QUIET = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


class MissingError(LookupError):
    """The registry answered that it has no such thing."""


class ExistsError(ValueError):
    """The registry answered that it has it already."""


class MlflowCalls:
    """One registry, reached through its own client: no MLflow setting of the process is changed.

    A call is `calls("what is being done", lambda client: …)`. It raises RegistryUnavailable when
    no answer came within `timeout_seconds` or the registry refused, and MissingError or
    ExistsError when that is the answer.
    """

    def __init__(self, uri: str, timeout_seconds: int) -> None:
        self.uri = uri
        self.tracking_uri = re.sub(r"^(databricks)-uc\b", r"\1", uri)
        self.timeout_seconds = timeout_seconds
        self._client: MlflowClient | None = None

    @property
    def is_unity_catalog(self) -> bool:
        return self.uri.startswith("databricks-uc")

    @property
    def is_local(self) -> bool:
        """Whether the registry is a database file on this machine."""
        return self.uri.startswith("sqlite:")

    @property
    def where(self) -> str:
        """The address, without a password that it may hold."""
        return re.sub(r"//[^/@]*@", "//", self.uri)

    def __call__(
        self, what: str, call: Callable[[MlflowClient], T], *, seconds: float | None = None
    ) -> T:
        """The result of `call`, within `seconds` (by default the registry's timeout)."""
        import_mlflow()
        with _settings(self._environment()):
            try:
                client = self._client or self._connect()
                return self._within(what, lambda: call(client), seconds or self.timeout_seconds)
            except LakescoreError:
                raise
            except Exception as error:
                raise self._in_our_words(what, error) from error

    def _in_our_words(self, what: str, error: Exception) -> Exception:
        code = getattr(error, "error_code", None)
        if code in _MISSING or (code == "INVALID_PARAMETER_VALUE" and "not found" in str(error)):
            return MissingError(str(error))
        if code in _EXISTS:
            return ExistsError(str(error))
        reason = re.sub(r"//[^/@\s]*@", "//", str(error)).strip()
        first = reason.partition("\n")[0][:500]
        lost = re.search(r"Max retries|Connection|timed out|resolve", reason)
        hint = "is the server running, and registry.uri right?" if lost else None
        return RegistryUnavailable(f"{what} failed: {first}", where=self.where, hint=hint)

    def _connect(self) -> MlflowClient:
        seconds = _FIRST_OPENING_SECONDS if self.is_local else float(self.timeout_seconds)
        self._client = self._within("opening the registry", self._open, seconds)
        return self._client

    def _open(self) -> MlflowClient:
        from mlflow import MlflowClient

        if not self.is_local:
            return MlflowClient(self.tracking_uri, self.uri)
        database = Path(self.uri.partition("///")[2])
        database.parent.mkdir(parents=True, exist_ok=True)
        with _locked(Path(f"{database}.lock"), _FIRST_OPENING_SECONDS):
            client = MlflowClient(self.tracking_uri, self.uri)
            client.search_registered_models(max_results=1)
        return client

    def _environment(self) -> dict[str, str]:
        return {
            **_QUIET,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_REGISTRY_URI": self.uri,
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(self.timeout_seconds),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        }

    def _within(self, what: str, call: Callable[[], T], seconds: float) -> T:
        """Run `call` in a thread of its own: a socket that never answers cannot be interrupted."""
        outcome: list[tuple[bool, Any]] = []

        def work() -> None:
            try:
                outcome.append((True, call()))
            except BaseException as error:
                outcome.append((False, error))

        thread = threading.Thread(target=work, name="lakescore-registry", daemon=True)
        thread.start()
        thread.join(seconds)
        if not outcome:
            raise RegistryUnavailable(
                f"{what}: no answer within {seconds:g} s",
                where=self.where,
                hint="is the server running, and registry.uri right? "
                "registry.timeout_seconds is the deadline",
            )
        succeeded, result = outcome[0]
        if not succeeded:
            raise result
        return result  # type: ignore[no-any-return]


def import_mlflow() -> None:
    """Import MLflow (about 2 s) without its telemetry. Raises MissingExtra."""
    with _environment_as({"MLFLOW_DISABLE_TELEMETRY": "true"}):
        try:
            import mlflow  # noqa: F401
        except ImportError as error:
            raise MissingExtra("mlflow", extra="local", needed_for="the model registry") from error


_lock = threading.RLock()
_depth = 0
_saved: tuple[dict[str, str | None], dict[str, int]] = ({}, {})


@contextmanager
def _settings(environment: dict[str, str]) -> Iterator[None]:
    """MLflow reads its limits from the environment: set them while a call runs, then restore.

    Calls of several threads may overlap: the first in saves, the last out restores.
    """
    global _depth, _saved  # noqa: PLW0603 - the process environment is global
    with _lock:
        if _depth == 0:
            levels = {name: logging.getLogger(name).level for name in _NOISY_LOGGERS}
            _saved = ({name: os.environ.get(name) for name in environment}, levels)
        _depth += 1
        os.environ.update(environment)
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _restore(_saved[0])
                for name, level in _saved[1].items():
                    logging.getLogger(name).setLevel(level)


@contextmanager
def _environment_as(environment: dict[str, str]) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        _restore(saved)


def _restore(saved: dict[str, str | None]) -> None:
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an advisory lock: two processes that create one database would break each other."""
    deadline = time.monotonic() + seconds
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RegistryUnavailable(
                        "another process is still creating the database", where=str(path)
                    ) from None
                time.sleep(0.1)
        yield
