"""Which Java is taken, and what is said when none fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakescore.errors import EnvironmentProblem
from lakescore.session import java as java_module
from lakescore.session.java import find_java, probe


def java_that_says(folder: Path, version: str, code: int = 0) -> Path:
    """A program that answers as that Java's `java -XshowSettings:properties -version` does."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    lines = f"    java.home = {folder}\n    java.specification.version = {version}\n"
    program.write_text(f"#!/bin/sh\nprintf '{lines}' >&2\nexit {code}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def no_bundled_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_module, "_bundled", lambda: None)


@pytest.mark.parametrize(("said", "version"), [("1.8", 8), ("11", 11), ("17", 17), ("21", 21)])
def test_version_is_what_the_program_says_of_itself(
    tmp_path: Path, said: str, version: int
) -> None:
    found = probe(java_that_says(tmp_path, said))
    assert found is not None
    assert (found.version, found.home) == (version, tmp_path)


def test_java_home_is_taken_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java_that_says(tmp_path / "home", "11")
    java_that_says(tmp_path / "path", "17")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    assert find_java().version == 11


def test_unsupported_java_home_falls_through_to_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that_says(tmp_path / "old", "1.8")
    java_that_says(tmp_path / "path", "17")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    assert find_java().home == tmp_path / "path"


def test_bundled_runtime_serves_a_machine_without_java(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that_says(tmp_path / "new", "21")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "new" / "bin"))
    found = find_java()
    assert found.bundled
    assert found.version == 17
    assert (found.home / "bin" / "java").exists()


@pytest.mark.usefixtures("no_bundled_java")
def test_every_java_that_was_passed_over_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that_says(tmp_path / "old", "1.8")
    broken = java_that_says(tmp_path / "broken", "17", code=1)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(broken.parent))
    with pytest.raises(EnvironmentProblem) as caught:
        find_java()
    assert "is Java 8" in str(caught.value)
    assert f"{broken}) does not run" in str(caught.value)
    assert "lakescore[local]" in str(caught.value)
