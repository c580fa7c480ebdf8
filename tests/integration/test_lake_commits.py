"""The commit protocol: whatever happens, each row is written once and accounted for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lakescore.config.settings import LakeSettings
from lakescore.config.workload import Source
from lakescore.errors import ContractViolated, ForeignTable, TypeMismatch
from lakescore.lake.chain import Progress
from lakescore.lake.commits import PredictionsLog
from lakescore.lake.contract import with_reasons
from lakescore.lake.lineage import CommitPlan
from lakescore.lake.refusal import packed
from lakescore.lake.staging import Counts, Staged, run_folder, stage
from lakescore.lake.tables import Lake

pytestmark = pytest.mark.spark

SOURCE = Source(table="s", key="id", expectations={"x is positive": "x > 0"})


class Runs:
    """A workload's runs over small batches, with the steps of `score` one by one."""

    def __init__(self, spark, root: Path, workload: str = "churn") -> None:
        self.spark, self.root = spark, root
        lake = Lake(LakeSettings(root=str(root)))
        self.predictions = lake.table("scores")
        self.quarantine = lake.table("scores_quarantine")
        self.log = PredictionsLog(spark, self.predictions, self.quarantine, workload)

    def plan(self, run_id: str, source_version: int) -> CommitPlan:
        seq = self.log.progress().next_seq
        return CommitPlan(run_id, seq, source_version, "source-id", "3", "hash of the plan")

    def stage(self, run_id: str, rows: list[tuple]) -> Staged:
        frame = self.spark.createDataFrame(rows, "id int, x double").coalesce(1)
        scored = packed(with_reasons(frame, SOURCE)).withColumnRenamed("x", "prediction")
        return stage(scored, f"{self.root}/staging/{run_id}", read=len(rows))

    def score(self, run_id: str, source_version: int, rows: list[tuple]):
        plan = self.plan(run_id, source_version)
        return self.log.commit(self.stage(run_id, rows), plan)

    def scored(self) -> list[tuple]:
        rows = self.predictions.read(self.spark)
        columns = ("id", "_workload", "_run_id", "_commit_seq", "_source_version")
        return sorted(map(tuple, rows.select(*columns).collect()))

    def refused(self) -> list[tuple]:
        rows = self.log.quarantined().select("_key", "_run_id")
        return sorted(map(tuple, rows.collect()))


@pytest.fixture
def runs(spark, lake_root: Path) -> Runs:
    return Runs(spark, lake_root)


def test_runs_add_up_and_an_empty_one_advances(runs: Runs):
    assert runs.log.progress() == Progress()
    first = runs.score("r1", 4, [(1, 0.1), (1, 0.1), (2, -1.0)])
    assert first.committed
    assert first.counts == Counts(read=3, predicted=1, quarantined=1, duplicates=1)

    assert runs.score("r2", 6, []).committed

    progress = runs.log.progress()
    assert progress == Progress(
        commit_seq=2, source_version=6, source_id="source-id", model_version="3", run_id="r2"
    )
    assert runs.log.roll_forward() == replace(progress, quarantine_version=1)
    assert runs.scored() == [(1, "churn", "r1", 1, 4)]
    assert runs.refused() == [('{"id":2}', "r1")]
    properties = runs.predictions.properties(runs.spark)
    assert properties["lakescore.role"] == "predictions"
    detail = runs.predictions.detail(runs.spark)
    assert (detail.reader_version, detail.writer_version) == (1, 2)


def test_rerun_after_crash_before_commit_writes_each_row_once(runs: Runs):
    crashed = runs.plan("crashed", 4)
    staged = runs.stage("crashed", [(1, 0.1), (2, -1.0)])
    runs.log._quarantine.append(
        staged.quarantined(runs.spark), crashed, "attempt of the crashed run"
    )
    assert not runs.predictions.exists(runs.spark)

    assert runs.score("rerun", 4, [(1, 0.1), (2, -1.0)]).committed
    assert runs.scored() == [(1, "churn", "rerun", 1, 4)]
    assert runs.refused() == [('{"id":2}', "rerun")]
    runs.log.roll_forward()
    assert runs.quarantine.read(runs.spark).count() == 1


def test_of_twins_planned_from_one_state_one_wins(runs: Runs):
    """The second plan reaches further: its number, not its range, must stop it."""
    plans = [runs.plan("a", 4), runs.plan("b", 5)]
    staged = [
        runs.stage("a", [(1, 0.1), (2, -1.0)]),
        runs.stage("b", [(1, 0.1), (2, -1.0), (3, 0.3)]),
    ]
    won, lost = (runs.log.commit(*pair) for pair in zip(staged, plans, strict=True))
    assert won.committed
    assert not lost.committed
    assert lost.winner_run_id == "a"
    assert runs.scored() == [(1, "churn", "a", 1, 4)]
    assert runs.quarantine.read(runs.spark).count() == 1
    assert runs.log.progress().source_version == 4


def test_two_workloads_share_a_table_and_a_restore_lowers_progress_only(runs: Runs):
    other = Runs(runs.spark, runs.root, "uplift")
    runs.score("r1", 4, [(1, 0.1)])
    other.score("o1", 9, [(1, 0.5)])
    runs.score("r2", 5, [(2, 0.2)])
    assert (runs.log.progress().commit_seq, other.log.progress().commit_seq) == (2, 1)

    runs.spark.sql(f"RESTORE TABLE {runs.predictions.sql_name} TO VERSION AS OF 2")
    progress = runs.log.roll_forward()
    # What the RESTORE left is committed under a number of its own.
    assert (progress.commit_seq, progress.source_version) == (3, 4)
    assert runs.log.roll_forward() == progress
    assert runs.score("r3", 5, [(2, 0.2)]).committed
    assert runs.scored() == [
        (1, "churn", "r1", 1, 4),
        (1, "uplift", "o1", 1, 9),
        (2, "churn", "r3", 4, 5),
    ]


def test_progress_survives_a_cleaned_history(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """What log retention does: the commits' metadata is gone, the rows are there."""
    runs.score("r1", 4, [(1, 0.1)])
    runs.score("r2", 6, [(2, -1.0)])
    monkeypatch.setattr("lakescore.lake.commits._WINDOWS", (1,))
    spark_sql = f"ALTER TABLE {runs.predictions.sql_name} SET TBLPROPERTIES (note = 'newer')"
    runs.spark.sql(spark_sql)

    assert runs.log.progress().source_version == 4
    progress = runs.log.roll_forward()
    assert (progress.commit_seq, progress.source_version) == (3, 6)
    assert runs.score("r3", 7, [(3, 0.3)]).committed
    assert [row[3] for row in runs.scored()] == [1, 4]


def test_tables_of_others_and_other_types_are_refused(runs: Runs):
    runs.score("r1", 4, [(1, 0.1)])
    plan = runs.plan("r2", 5)
    rows = runs.spark.createDataFrame([("2", 0.2)], "id string, x double")
    frame = packed(with_reasons(rows, SOURCE))
    staged = stage(frame.withColumnRenamed("x", "prediction"), f"{runs.root}/staging/r2", read=1)
    with pytest.raises(TypeMismatch, match="'id' is string, the table has int"):
        runs.log.commit(staged, plan)
    assert len(runs.scored()) == 1

    foreign = Lake(LakeSettings(root=str(runs.root))).table("foreign")
    runs.spark.range(1).write.format("delta").save(foreign.path)
    log = PredictionsLog(runs.spark, foreign, runs.quarantine, "churn")
    with pytest.raises(ForeignTable, match="lakescore did not make it"):
        log.progress()


def test_rows_lost_on_the_way_stop_the_run_and_leave_no_stage(spark, tmp_path: Path):
    scored = packed(with_reasons(spark.createDataFrame([(1, 0.1)], "id int, x double"), SOURCE))
    with (
        pytest.raises(ContractViolated, match="2 rows were read, 0 of them not in scope, and 1"),
        run_folder(spark, str(tmp_path / "staging"), "r1") as folder,
    ):
        stage(scored, folder, read=2)
    assert not (tmp_path / "staging" / "r1").exists()
