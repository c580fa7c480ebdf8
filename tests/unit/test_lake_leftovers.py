"""What a dead run staged is removed; what a living one stages is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lakescore.lake.leftovers import UNTOUCHED_DAYS, held, remove_leftovers

RUN_ID = "20240131T060000Z-1f9c2a"
HOLDER = """
import sys, time
from pathlib import Path
from lakescore.lake.leftovers import held
with held(sys.argv[1]):
    Path(sys.argv[1]).mkdir()
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_rows_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    folder = tmp_path / RUN_ID
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    assert remove_leftovers(str(tmp_path)) == []
    assert folder.exists()
    other.kill()
    other.wait()
    other.stdout.close()
    assert remove_leftovers(str(tmp_path)) == [RUN_ID]
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_the_same_process_is_alive_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / RUN_ID
    with held(str(folder)):
        folder.mkdir()
        assert remove_leftovers(str(tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == [RUN_ID]


@pytest.mark.parametrize("lock", [None, "another machine"])
def test_a_folder_whose_run_cannot_be_asked_goes_by_its_age(
    tmp_path: Path, lock: str | None
) -> None:
    folder = tmp_path / RUN_ID
    folder.mkdir()
    (tmp_path / "demo").mkdir()
    if lock is not None:
        (tmp_path / f"{RUN_ID}.lock").write_text(lock)
    assert remove_leftovers(str(tmp_path)) == []
    long_ago = time.time() - (UNTOUCHED_DAYS + 1) * 86_400
    os.utime(folder, (long_ago, long_ago))
    assert remove_leftovers(str(tmp_path)) == [RUN_ID]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
