"""The archive of Spark's classes: used where it fits, made aside, and never in the way."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lakescore.session import class_archive
from lakescore.session.class_archive import archive_options, make_archive, needs_archive
from lakescore.session.java import Java


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    jar = tmp_path / "delta.jar"
    jar.write_bytes(b"classes")
    return [jar]


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
    java: Java, jars: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    saving(monkeypatch)
    assert archive_options(java, jars) == []
    assert needs_archive(java, jars)
    assert make_archive(java, jars)
    assert not needs_archive(java, jars)
    assert archive_options(java, jars)[0].startswith('"-XX:SharedArchiveFile=')
    assert archive_options(Java(java.home / "other", 17), jars) == []
    other = jars[0].with_name("other.jar")
    other.write_bytes(b"classes")
    assert archive_options(java, [other]) == []


def test_an_archive_of_jars_that_were_installed_anew_is_made_anew(
    java: Java, jars: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    saving(monkeypatch)
    assert make_archive(java, jars)
    os.utime(jars[0], (0, 0))
    assert needs_archive(java, jars)


def test_archives_that_no_session_uses_do_not_pile_up(
    java: Java, jars: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saving(monkeypatch)
    folder = tmp_path / "cache" / "classes"
    for installed in (60, 120):
        os.utime(jars[0], (installed, installed))
        assert make_archive(java, jars)
        (made,) = [path for path in folder.iterdir() if path.stat().st_mtime > 0]
        os.utime(made, (0, 0))
    assert archive_options(java, jars)
    os.utime(jars[0], (180, 180))
    assert make_archive(java, jars)
    assert len(list(folder.iterdir())) == 2


def test_a_failed_run_leaves_nothing_but_a_line(
    java: Java,
    jars: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    saving(monkeypatch, code=1, said="Traceback\nNo space left on device")
    with caplog.at_level(logging.WARNING):
        assert not make_archive(java, jars)
    assert "without archived classes: No space left on device" in caplog.text
    assert list((tmp_path / "cache" / "classes").iterdir()) == []
    assert archive_options(java, jars) == []


def test_java_11_has_no_such_archive(java: Java, jars: list[Path]) -> None:
    assert not needs_archive(Java(java.home, 11), jars)
