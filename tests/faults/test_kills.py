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
from tests.faults.processes import Command
from tests.faults.tally import Tally
from tests.linear import NAME, day

pytestmark = [pytest.mark.spark, pytest.mark.slow]

KILLS = int(os.environ.get("LAKESCORE_KILLS", "50"))
WINDOWS = ("first staged file", "last staged file", "quarantine commit", "predictions commit")
VICTIMS = ("driver", "jvm", "group")
MODES = ("append", "upsert", "snapshot", "full", "backfill")


class Target:
    """One project a table mode; `change` prepares what the killed run has to do."""

    def __init__(self, project: Project) -> None:
        self.project, self.days = project, 0
        self.project.land()
        self.project.life.score(as_of=day(1))
        self.project.oracle.judge(self.project.oracle.rows, "1", self.as_of)

    @property
    def is_snapshot(self) -> bool:
        predictions = self.project.life.workload.predictions
        return predictions is not None and predictions.mode == "snapshot"

    @property
    def as_of(self):
        return day(1 + self.days) if self.is_snapshot else None

    def change(self, mode: str) -> tuple[list[str], int]:
        """Something to score: the command that does, and how many rows it judges.

        The oracle then says how things stand once it has run.
        """
        self.project.promote_next()
        command, judged = getattr(self, f"_{mode}")()
        return command, self.project.oracle.judge(judged, self.project.champion, self.as_of)

    def _append(self) -> tuple[list[str], list[int]]:
        return ["score", NAME], self.project.land()

    def _full(self) -> tuple[list[str], list[int]]:
        self.project.land(10)
        return ["score", NAME, "--full"], list(self.project.oracle.rows)

    def _backfill(self) -> tuple[list[str], list[int]]:
        span = ["--from", "2024-01-02", "--to", "2024-01-03"]
        rows = self.project.oracle.rows
        return ["backfill", NAME, *span], [i for i, (_, when) in rows.items() if when >= day(2)]

    def _upsert(self) -> tuple[list[str], list[int]]:
        """Rows come, rows change (valid ones break, broken ones mend), rows go."""
        project, rows = self.project, self.project.oracle.rows
        self.days += 1
        changed = [i for i in rows if i % 7 == self.days % 7]
        new = project.land(BATCH_UPSERT)
        project.life.sql(
            f"UPDATE {{t}} SET x = -x - 1 WHERE id % 7 = {self.days % 7} AND id < {new[0]}"
        )
        rows |= {i: (-rows[i][0] - 1, rows[i][1]) for i in changed}
        project.life.sql(f"DELETE FROM {{t}} WHERE id % 11 = {self.days % 11}")
        for gone in [i for i in rows if i % 11 == self.days % 11]:
            del rows[gone]
            project.oracle.forget(gone)
        return ["score", NAME], [i for i in (*changed, *new) if i in rows]

    def _snapshot(self) -> tuple[list[str], list[int]]:
        self.days += 1
        rows = self.project.new_rows()
        self.project.life.overwrite(*((i, x, when) for i, (x, when) in rows.items()))
        self.project.oracle.rows = rows
        return ["score", NAME, "--as-of", str(self.as_of)], list(rows)


BATCH_UPSERT = 30


@pytest.fixture(scope="module")
def targets(spark, registered: Path, tmp_path_factory: pytest.TempPathFactory):
    """Made once: append (with full and backfill), upsert and snapshot."""
    made: dict[str, Target] = {}
    kinds = {
        "append": {"mode": "append", "backfill_by": "day"},
        "upsert": {"mode": "upsert"},
        "snapshot": {"mode": "snapshot"},
    }

    def target(mode: str) -> Target:
        kind = mode if mode in kinds else "append"
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            made[kind] = Target(Project.make(spark, root, registered, kinds[kind]))
        return made[kind]

    return target


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    kept = Tally("kills")
    yield kept
    kept.tell()


def _moment(window: str, project: Project) -> Callable[[], bool]:
    """What the disk shows at the moment of the kill."""
    staging, lake = Path(project.life.settings.staging), Path(project.life.settings.lake.root or "")
    if window == "first staged file":
        return lambda: any(name.endswith(".parquet") for *_, names in os.walk(staging) for name in names)
    if window == "last staged file":
        return lambda: any(staging.glob("*/_SUCCESS"))
    table = "scores_quarantine" if window == "quarantine commit" else "scores"
    log = lake / table / "_delta_log"

    def commits() -> int:
        return sum(name.endswith(".json") and name[0] != "." for name in os.listdir(log))

    before = commits()
    return lambda: commits() > before


def _cases() -> Iterator[tuple[str, str, str]]:
    for number in range(KILLS):
        yield MODES[number % 5], WINDOWS[number % 4], VICTIMS[number // 4 % 3]


@pytest.mark.parametrize(("mode", "window", "victim"), list(_cases()))
def test_rerun_after_a_kill_leaves_each_row_once(
    targets, tally: Tally, mode: str, window: str, victim: str
) -> None:
    target: Target = targets(mode)
    project = target.project
    before = project.oracle.state()
    argv, read = target.change(mode)
    after = project.oracle.state()

    killed = Command(project.root, argv)
    killed.wait_until(_moment(window, project))
    killed.kill(victim)
    tally.fault(f"mode {mode}", f"at {window}", f"victim {victim}")
    if victim == "jvm":
        assert killed.ended() == 1
        assert "Java process" in killed.said()
        assert "Traceback" not in killed.said()
    if victim != "driver":
        killed.all_gone()
        assert sorted(project.visible()) in (sorted(before), sorted(after))
    # The JVM of a killed driver may still be at work: the rerun is its twin.
    _run_again(project, argv, as_process=victim == "group")
    killed.all_gone()
    tally.compare(read, project.visible(), after)
    _nothing_is_left(project)


def _nothing_is_left(project: Project) -> None:
    """No staged file, and no lock that anybody holds."""
    if project.staged():
        # An orphaned JVM wrote on while the rerun cleared up: such rows go by their age.
        long_ago = time.time() - (UNTOUCHED_DAYS + 1) * 86_400
        for folder in Path(project.life.settings.staging).iterdir():
            os.utime(folder, (long_ago, long_ago))
        remove_leftovers(project.life.settings.staging)
    assert project.staged() == []
    for lock in project.root.rglob("*.lock"):
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _run_again(project: Project, argv: list[str], *, as_process: bool) -> None:
    """The same command: as a process, or in the warm session of the test, which takes seconds."""
    if not as_process:
        assert main([*argv, "--conf", str(project.root / "conf")]) == 0
        return
    again = Command(project.root, argv)
    assert again.ended(180) == 0, again.said()
    again.all_gone()
