"""jobs/*.py: what spark-submit starts is the wheel's entry point of the same name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.py"))


def start(job: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(job), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_is_a_job_for_each_step() -> None:
    names = {job.stem for job in JOBS}
    assert names == {
        "ingest",
        "train",
        "promote",
        "rollback",
        "score",
        "backfill",
        "restore",
        "maintain",
    }


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_job_is_the_entry_point_of_its_name(job: Path) -> None:
    done = start(job, "--help")
    assert done.returncode == 0
    assert f"usage: lakescore-{job.stem}" in done.stdout


def test_failure_reaches_the_scheduler_as_an_exit_code() -> None:
    done = start(ROOT / "jobs" / "score.py", "--workload", "flight_delay", "--env", "local")
    assert done.returncode == 2
    assert "did you mean 'flight_delays'?" in done.stderr
