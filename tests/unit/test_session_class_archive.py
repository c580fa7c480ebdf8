"""The archive of Spark's classes: used where it fits, made aside, and never in the way."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lakescore.session import class_archive
from lakescore.session.class_archive import archive_options, make_archive, needs_archive
from lakescore.session.java import Java

JARS = [Path("/jars/delta.jar")]


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Java:
    monkeypatch.setenv("LAKESCORE_CACHE", str(tmp_path / "cache"))
    return Java(home=tmp_path / "java", version=17)


def saving(monkeypatch: pytest.MonkeyPatch, *, code: int = 0, said: str = "") -> None:
    """Stand in for the run of half a minute: it leaves an archive when it succeeds."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if code == 0:
            Path(command[-1]).write_bytes(b"classes")
        return subprocess.CompletedProcess(command, code, "", said)

    monkeypatch.setattr(class_archive.subprocess, "run", run)


def test_a_made_archive_is_used_by_this_java_and_these_jars_only(
    java: Java, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving(monkeypatch)
    assert archive_options(java, JARS) == []
    assert needs_archive(java, JARS)
    assert make_archive(java, JARS)
    assert not needs_archive(java, JARS)
    assert archive_options(java, JARS)[0].startswith('"-XX:SharedArchiveFile=')
    assert archive_options(java, [Path("/jars/other.jar")]) == []
    assert archive_options(Java(java.home / "other", 17), JARS) == []


def test_a_failed_run_leaves_nothing_but_a_line(
    java: Java, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    saving(monkeypatch, code=1, said="Traceback\nNo space left on device")
    with caplog.at_level(logging.WARNING):
        assert not make_archive(java, JARS)
    assert "without archived classes: No space left on device" in caplog.text
    assert list((tmp_path / "cache" / "classes").iterdir()) == []
    assert archive_options(java, JARS) == []


def test_java_11_has_no_such_archive(java: Java) -> None:
    assert not needs_archive(Java(java.home, 11), JARS)
