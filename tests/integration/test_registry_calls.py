"""A registry that is down, silent or wrong ends in one clear error, by its deadline."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lakescore.errors import RegistryUnavailable
from lakescore.registry.calls import MlflowCalls, import_mlflow

PATIENCE_SECONDS = 6


@pytest.fixture(scope="module", autouse=True)
def _mlflow_is_imported() -> None:
    import_mlflow()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and never answers."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(8)
        yield int(sock.getsockname()[1])


def test_server_that_is_down_is_unavailable(closed_port):
    calls = MlflowCalls(f"http://user:secret@127.0.0.1:{closed_port}", timeout_seconds=5)
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable) as caught:
        calls("listing models", lambda client: list(client.search_registered_models()))
    assert time.monotonic() - started < 5 + PATIENCE_SECONDS
    assert "listing models" in str(caught.value)
    assert "is the server running" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_server_that_never_answers_is_given_up_at_the_deadline(silent_port):
    calls = MlflowCalls(f"http://127.0.0.1:{silent_port}", timeout_seconds=2)
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable) as caught:
        calls("reading an alias", lambda client: client.get_model_version_by_alias("m", "a"))
    assert 2 <= time.monotonic() - started < 2 + PATIENCE_SECONDS
    assert "no answer within 2 s" in str(caught.value)


def test_a_call_leaves_environment_and_logging_as_they_were(closed_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    before = dict(os.environ)
    level = logging.getLogger("mlflow").level
    calls = MlflowCalls(f"http://127.0.0.1:{closed_port}", timeout_seconds=3)
    seen: dict[str, str] = {}
    with pytest.raises(RegistryUnavailable):
        calls("looking", lambda client: seen.update(os.environ) or client.get_run("1"))
    assert seen["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"
    assert seen["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert dict(os.environ) == before
    assert logging.getLogger("mlflow").level == level


def test_unity_catalog_tracks_runs_in_the_workspace():
    calls = MlflowCalls("databricks-uc://profile", timeout_seconds=3)
    assert calls.is_unity_catalog
    assert calls.tracking_uri == "databricks://profile"


CREATE = """
import sys
from lakescore.registry.calls import MlflowCalls
calls = MlflowCalls(sys.argv[1], timeout_seconds=60)
print(len(calls("listing", lambda client: list(client.search_registered_models()))))
"""


def test_two_processes_may_create_one_local_registry_and_say_nothing(tmp_path):
    uri = f"sqlite:///{tmp_path}/not/there/yet/mlflow.db"
    twins = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, uri],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(2)
    ]
    answers = [twin.communicate(timeout=240) for twin in twins]
    assert [answer for answer, _ in answers] == ["0\n", "0\n"]
    assert [noise for _, noise in answers] == ["", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["not"]
