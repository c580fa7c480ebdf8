"""Runs at once: identical ones, other workloads on the same table, an OPTIMIZE in the middle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from lakescore.config.workload import Workload
from lakescore.lake import writes
from lakescore.lake.staging import ACTION
from lakescore.workflows.run_result import Status
from lakescore.workflows.score import score
from tests.faults.lives import Project
from tests.faults.processes import START_SECONDS, Command
from tests.faults.reader import commits
from tests.faults.tally import Tally
from tests.faults.targets import Target
from tests.linear import NAME, Life

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROUNDS = int(os.environ.get("LAKESCORE_TWINS", "20"))
#: So many of the rounds are two real processes; the others two sessions of one JVM.
PROCESS_ROUNDS = int(os.environ.get("LAKESCORE_TWIN_PROCESSES", "2"))
MODES = ("append", "upsert", "snapshot")


def at_once(*runs: Callable[[], Any]) -> list[Any]:
    """Start all together; their results in order. The first error is raised when all ended."""
    start = threading.Barrier(len(runs))

    def begin(run: Callable[[], Any]) -> Any:
        start.wait()
        return run()

    with ThreadPoolExecutor(len(runs)) as pool:
        started = [pool.submit(begin, run) for run in runs]
    return [one.result() for one in started]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_two_identical_runs_one_commits(targets, tally: Tally, number: int) -> None:
    target: Target = targets(MODES[number % len(MODES)])
    project = target.project
    argv, read = target.change(MODES[number % len(MODES)])
    versions = _commits(project.life)
    if number < PROCESS_ROUNDS:
        with Command(project.root, argv) as one, Command(project.root, argv) as other:
            for twin in (one, other):
                assert twin.ended(START_SECONDS) == 0, twin.said()
                twin.all_gone()
        tally.fault("two processes")
    else:
        at_once(*(lambda: _score(project.life, target) for _ in range(2)))
        tally.fault("two sessions")
    assert _commits(project.life) == versions + 1
    tally.compare(read, project.visible(), project.oracle.state())
    assert project.staged() == []


def _score(life: Life, target: Target) -> Any:
    options = {} if target.as_of is None else {"as_of": target.as_of}
    return score(life.spark.newSession(), life.settings, life.workload, **options)


def _commits(life: Life) -> int:
    """How many of the predictions table's commits wrote rows."""
    history = life.spark.sql(f"DESCRIBE HISTORY {life.lake.table('scores').sql_name}")
    return history.where("operation in ('WRITE', 'MERGE')").count()


@pytest.mark.parametrize(
    ("mode", "full"),
    [("append", False), ("upsert", False), ("append", True)],
    ids=["two appends", "two MERGEs", "a replacement and an append"],
)
def test_two_workloads_write_one_table_at_once(
    spark, registered: Path, tmp_path: Path, tally: Tally, mode: str, full: bool
) -> None:
    project = Project.make(spark, tmp_path, registered, {"mode": mode})
    other = _other_workload(project.life.workload)
    life = project.life
    for number in range(3):
        read = project.oracle.judge(_news(project, mode, number), "1")
        results = at_once(
            lambda: score(spark.newSession(), life.settings, life.workload, full=full),
            lambda: score(spark.newSession(), life.settings, other),
        )
        assert [result.status for result in results] == [Status.DONE, Status.DONE]
        tally.fault("two workloads")
        for name in (NAME, "other"):
            tally.compare(read, project.visible(name), project.oracle.state())


def _news(project: Project, mode: str, number: int) -> list[int]:
    """Rows that come, and for an upsert some that change: their ids."""
    rows = project.oracle.rows
    changed = [i for i, (x, _) in rows.items() if i % 3 == number and x >= 0]
    new = project.land()
    if mode != "upsert" or not changed:
        return new
    listed = ", ".join(map(str, changed))
    project.life.sql(f"UPDATE {{t}} SET x = x + 1 WHERE id IN ({listed})")
    rows |= {i: (rows[i][0] + 1, rows[i][1]) for i in changed}
    return [*changed, *new]


def _other_workload(workload: Workload) -> Workload:
    """The same source, model and tables under another name, with nothing to train."""
    content = workload.model_dump(mode="json", exclude_unset=True)
    for section in ("label", "features", "split", "candidates"):
        content.pop(section, None)
    return Workload.model_validate(
        {**content, "name": "other", "model": f"models:/{NAME}@champion"}
    )


def test_an_optimize_during_a_merge_changes_no_row(
    targets, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MERGE is held while it reads its rows until the OPTIMIZE is done: the two must meet."""
    target: Target = targets("upsert")
    project, spark = target.project, target.project.life.spark
    _, read = target.change("upsert")
    table = project.life.lake.table("scores")
    begun, done = tmp_path / "begun", tmp_path / "done"
    real, lost = writes._merge, list[str]()

    def optimize() -> None:
        _wait_for(begun)
        # Z-ordering rewrites every file each time.
        spark.newSession().sql(f"OPTIMIZE {table.sql_name} ZORDER BY (id)").collect()
        done.touch()

    def merge(session: Any, rows: Any, *arguments: Any) -> None:
        if lost:
            real(session, rows, *arguments)
            return
        try:
            at_once(optimize, lambda: real(session, _held(rows, begun, done), *arguments))
        except Exception as error:
            lost.append(str(error))
            raise

    monkeypatch.setattr(writes, "_merge", merge)
    assert project.life.score().status is Status.DONE
    assert "Concurrent" in lost[0]
    assert [commit.operation for commit in commits(table)[-2:]] == ["OPTIMIZE", "MERGE"]
    tally.fault("OPTIMIZE during a MERGE")
    tally.compare(read, project.visible(), project.oracle.state())


def _held(rows: Callable[[Any], Any], begun: Path, done: Path) -> Callable[[Any], Any]:
    """The rows, in one task, which says that it has begun and waits until the other is done."""
    here, there = str(begun), str(done)

    def passes(_: Any) -> bool:
        import time
        from pathlib import Path

        Path(here).touch()
        deadline = time.monotonic() + 120
        while not Path(there).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return True

    def held(session: Any) -> Any:
        return rows(session).coalesce(1).where(F.udf(passes, "boolean")(F.col(ACTION)))

    return held


def _wait_for(path: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path.name} after {seconds} s"
        time.sleep(0.05)
