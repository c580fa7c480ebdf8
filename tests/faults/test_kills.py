"""Real `lakescore` processes killed at moments that the disk shows; then the job runs again."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lakescore.cli import main
from lakescore.lake.leftovers import UNTOUCHED_DAYS, remove_leftovers
from tests.faults.lives import Project
from tests.faults.processes import START_SECONDS, Command
from tests.faults.tally import Tally
from tests.faults.targets import Target

pytestmark = [pytest.mark.spark, pytest.mark.slow]

KILLS = int(os.environ.get("LAKESCORE_KILLS", "50"))
WINDOWS = ("first staged file", "last staged file", "quarantine commit", "predictions commit")
VICTIMS = ("driver", "jvm", "group")
MODES = ("append", "upsert", "snapshot", "full", "backfill")


def _moment(window: str, project: Project) -> Callable[[], bool]:
    """What the disk shows at the moment of the kill."""
    staging, lake = Path(project.life.settings.staging), Path(project.life.settings.lake.root or "")
    if window == "first staged file":
        return lambda: any(
            name.endswith(".parquet") for *_, names in os.walk(staging) for name in names
        )
    if window == "last staged file":
        return lambda: any(staging.glob("*/scored/_SUCCESS"))
    table = "scores_quarantine" if window == "quarantine commit" else "scores"
    log = lake / table / "_delta_log"

    def commits() -> int:
        return sum(1 for path in log.glob("*.json") if path.name[0] != ".")

    before = commits()
    return lambda: commits() > before


def _cases() -> Iterator[tuple[str, str, str]]:
    for number in range(KILLS):
        # 5, 4 and 3 have no common factor: 60 in a row are all combinations.
        yield MODES[number % 5], WINDOWS[number % 4], VICTIMS[number % 3]


@pytest.mark.parametrize(("mode", "window", "victim"), list(_cases()))
def test_rerun_after_a_kill_leaves_each_row_once(
    targets, tally: Tally, mode: str, window: str, victim: str
) -> None:
    target: Target = targets(mode)
    project = target.project
    before = project.oracle.state()
    argv, read = target.change(mode)
    after = project.oracle.state()

    with Command(project.root, argv) as killed:
        killed.wait_until(_moment(window, project))
        killed.kill(victim)
        tally.fault(f"mode {mode}", f"at {window}", f"victim {victim}")
        if victim == "jvm":
            assert killed.ended() == 1
            assert "the Java process of the Spark session ended" in killed.said()
            assert "Traceback" not in killed.said()
        if victim == "driver":
            killed.ended()  # and so lets go of its lock; a rerun before that leaves it to the next
        else:
            killed.all_gone()
            assert sorted(project.visible()) in (sorted(before), sorted(after))
        # The JVM of a killed driver may still be at work: the rerun is its twin.
        _run_again(project, argv, as_process=victim == "group")
        killed.all_gone()
    tally.compare(read, project.visible(), after)
    _nothing_is_left(project, tally, orphaned=victim == "driver")


def _nothing_is_left(project: Project, tally: Tally, *, orphaned: bool) -> None:
    """No staged file, no table but the three, and no lock that anybody holds.

    The one exception: the `orphaned` JVM of a killed driver may write on after the rerun, which
    knew its run as dead, removed what it had staged, and the lock with it. Such a folder has no
    lock, is nobody's, and goes by its age. docs/reliability.md says so.
    """
    staging = Path(project.life.settings.staging)
    if orphaned and project.staged():
        assert [path for path in staging.iterdir() if not path.is_dir()] == []
        tally.fault("staged by an orphan after the rerun")
        long_ago = time.time() - (UNTOUCHED_DAYS + 1) * 86_400
        for folder in staging.iterdir():
            os.utime(folder, (long_ago, long_ago))
        remove_leftovers(str(staging))
    assert project.staged() == []
    tables = {path.parent.name for path in (project.root / "lake").rglob("_delta_log")}
    assert tables == {"events", "scores", "scores_quarantine"}
    for lock in project.root.rglob("*.lock"):
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _run_again(project: Project, argv: list[str], *, as_process: bool) -> None:
    """The same command: as a process, or in the warm session of the test, which takes seconds."""
    if not as_process:
        assert main([*argv, "--conf", str(project.root / "conf")]) == 0
        return
    with Command(project.root, argv) as again:
        assert again.ended(START_SECONDS) == 0, again.said()
        again.all_gone()
