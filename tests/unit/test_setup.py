"""Set-up on a machine that is not as it should be: one sentence, and no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "setup.sh"


@pytest.fixture
def setup() -> ModuleType:
    return load_script("setup")


def find_python(environment: str = "dev", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), environment],
        env={"HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def python_that_says(folder: Path, version: str, code: int = 0) -> Path:
    """A program that answers as that Python does when it is asked for its version."""
    folder.mkdir(exist_ok=True)
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\necho {version}\nexit {code}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def path_without_python(tmp_path: Path) -> str:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dirname", "sed"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return str(tools)


def test_unsuitable_python_is_named_with_what_to_do(tmp_path: Path) -> None:
    python = python_that_says(tmp_path, "3.13")
    done = find_python(PYTHON=str(python), PATH=os.environ["PATH"])
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert f"{python} is 3.13" in done.stderr
    assert "PYTHON=/path/to/python" in done.stderr


def test_shim_that_fails_is_passed_over(tmp_path: Path, path_without_python: str) -> None:
    broken = python_that_says(tmp_path / "shims", "3.11", code=127)
    done = find_python(PATH=f"{broken.parent}:{path_without_python}")
    assert done.returncode == 3
    assert "none runs" in done.stderr


def test_compat_asks_for_its_own_python(path_without_python: str) -> None:
    done = find_python("compat", PATH=path_without_python)
    assert done.returncode == 3
    assert "needs Python 3.10" in done.stderr
    assert "COMPAT_PYTHON=/path/to/python" in done.stderr


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("cause: No space left on device (os error 28)", "the disk is full"),
        ("ERROR: No matching distribution found for uv==1", "package index cannot be reached"),
        ("error: dns error: failed to lookup address", "package index cannot be reached"),
        ("some\nother trouble\n", "other trouble"),
    ],
)
def test_failed_step_becomes_one_sentence(setup: ModuleType, output: str, said: str) -> None:
    sentence = setup._cause(output, "")
    assert said in sentence
    assert "\n" not in sentence


def test_full_disk_is_told_before_anything_is_written(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    lock = ROOT / "requirements" / "dev.txt"
    environment = setup.Environment(tmp_path / "venv", lock, needed_bytes=1 << 60)
    monkeypatch.setitem(setup.ENVIRONMENTS, "dev", environment)
    assert setup.main("dev") == 1
    assert "make room, or clone onto another disk" in capsys.readouterr().err
    assert not environment.folder.exists()


def test_locks_name_every_package_with_hashes_and_no_address() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        lines = lock.read_text().splitlines()
        pinned = [line for line in lines if not line.startswith(" ")]
        assert pinned and all("==" in line and line.endswith("\\") for line in pinned), lock.name
        assert not [line for line in lines if "://" in line], lock.name


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo 'no connection (x:1): connect once'", "no connection (x:1): connect once; then run"),
        ("echo 'Traceback' >&2", "Spark's jars could not be made ready (see above); then run it"),
    ],
)
def test_missing_jars_are_one_sentence_that_says_what_to_do(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, answer, said
) -> None:
    environment = setup.Environment(tmp_path, ROOT / "requirements" / "dev.txt")
    environment.python.parent.mkdir()
    environment.python.write_text(f"#!/bin/sh\n{answer}\nexit 1\n")
    environment.python.chmod(0o755)
    environment.stamp.write_text(environment.key)
    monkeypatch.setitem(setup.ENVIRONMENTS, "dev", environment)
    assert setup.main("dev") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"set-up stopped: {said}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(("target", "removes"), [("clean", False), ("clean-lake", True)])
def test_a_lake_is_removed_only_by_the_target_that_says_so(target: str, removes: bool) -> None:
    """`make clean` is run in a checkout where somebody may have worked."""
    command = ["make", "--dry-run", "--no-print-directory", target]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert ("lake" in told.split()) is removes
