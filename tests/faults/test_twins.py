"""Runs at once: identical ones, other workloads on the same table, an OPTIMIZE in the middle."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakescore.config.workload import Workload
from lakescore.lake import writes
from lakescore.workflows.run_result import Status
from lakescore.workflows.score import score
from tests.faults.lives import Project
from tests.faults.processes import START_SECONDS, Command
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


def test_two_workloads_write_one_table_at_once(
    spark, registered: Path, tmp_path: Path, tally: Tally
) -> None:
    project = Project.make(spark, tmp_path, registered, {"mode": "append"})
    other = _other_workload(project.life.workload)
    (tmp_path / "conf" / "workloads" / "other.yml").write_text(
        yaml.safe_dump(other.model_dump(mode="json", exclude_unset=True))
    )
    life = project.life
    for _ in range(3):
        read = project.oracle.judge(project.land(), "1")
        results = at_once(
            lambda: score(spark.newSession(), life.settings, life.workload),
            lambda: score(spark.newSession(), life.settings, other),
        )
        assert [result.status for result in results] == [Status.DONE, Status.DONE]
        tally.fault("two workloads")
        for name in (NAME, "other"):
            tally.compare(read, project.visible(name), project.oracle.state())


def _other_workload(workload: Workload) -> Workload:
    """The same source, model and tables under another name, with nothing to train."""
    content = workload.model_dump(mode="json", exclude_unset=True)
    for section in ("label", "features", "split", "candidates"):
        content.pop(section, None)
    return Workload.model_validate(
        {**content, "name": "other", "model": f"models:/{NAME}@champion"}
    )


@pytest.mark.parametrize("number", range(3))
def test_an_optimize_during_a_merge_changes_no_row(
    targets, tally: Tally, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target: Target = targets("upsert")
    project, spark = target.project, target.project.life.spark
    _, read = target.change("upsert")
    table = project.life.lake.table("scores").sql_name
    real, raced = writes._merge, []

    def optimize() -> None:
        # Z-ordering rewrites every file each time, so that the two cannot but meet.
        try:
            spark.newSession().sql(f"OPTIMIZE {table} ZORDER BY (id)").collect()
        except Exception as error:
            assert "Concurrent" in str(error), error

    def merge(*arguments: Any) -> None:
        if raced:
            real(*arguments)
            return
        raced.append(True)
        at_once(optimize, lambda: real(*arguments))

    monkeypatch.setattr(writes, "_merge", merge)
    assert project.life.score().status is Status.DONE
    tally.fault("OPTIMIZE during a MERGE")
    tally.compare(read, project.visible(), project.oracle.state())
