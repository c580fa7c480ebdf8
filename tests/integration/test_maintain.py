"""Maintenance of the predictions: a plan first, then what is due, and scoring goes on after it."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from lakescore.errors import ForeignTable
from lakescore.lake.old_stages import _listed
from lakescore.lake.staging import clear_folder
from lakescore.workflows.maintain import maintain, plan_maintenance
from lakescore.workflows.plan import predictions_log
from lakescore.workflows.run_result import Status, new_run_id
from tests.linear import NAME, Life, day, workload

pytestmark = pytest.mark.spark


def planned(life: Life) -> dict[tuple[str, str], tuple[bool, str]]:
    """(kind, where) -> whether it is due, and why."""
    plan = plan_maintenance(life.spark, life.settings, [life.workload])
    return {(chore.kind, chore.where): (chore.due, chore.because) for chore in plan.chores}


def scatter(life: Life, files: int) -> None:
    """Rewrite the predictions as many small files, in a commit of somebody else."""
    table = life.lake.table("scores")
    rows = table.read(life.spark).repartition(files, "id")
    writer = rows.write.format("delta").mode("overwrite").option("dataChange", "false")
    writer.save(table.path)


@pytest.mark.slow
def test_small_and_unused_files_go_and_scoring_goes_on(life, spark) -> None:
    one = life(mode="upsert")
    one.append(*((key, float(key), day(1)) for key in range(200)))
    scored = one.score().details["table_version"]
    scatter(one, 60)
    before = one.scores()
    found = planned(one)
    due, because = found["optimise", "scores"]
    assert due
    assert "files in 1 partition, 0.0 MiB on average; at least 32 more than partitions" in because
    assert found["vacuum", "scores"] == (False, "no file is out of use for more than 7 days")
    assert not found["checkpoint", "scores"][0]
    assert found["optimise", "scores_quarantine"] == (False, "the table is not there yet")

    folder = Path(str(one.lake.table("scores").path))
    age = time.time() - 9 * 86_400
    for file in [*folder.glob("*.parquet"), *folder.glob(".*.crc")]:
        os.utime(file, (age, age))
    stray = folder / "part-0-stray.parquet"
    stray.write_bytes(b"left by a dead task")
    os.utime(stray, (age, age))

    result = maintain(spark, one.settings, [one.workload])
    assert result.status is Status.DONE
    assert result.counts["optimise"] > 32
    assert result.counts["vacuum"] >= 1
    assert not stray.exists()
    assert one.scores() == before
    assert one.scores(scored) == before, "what was replaced a moment ago can still be read"
    again = maintain(spark, one.settings, [one.workload])
    assert again.status is Status.NOTHING_TO_DO

    assert one.score().status is Status.NOTHING_TO_DO
    one.append((1, 100.0, day(2)), (500, 5.0, day(2)))
    assert one.score().counts["predicted"] == 2
    assert {(1, 201.0, "1"), (500, 11.0, "1"), (2, 5.0, "1")} <= set(one.scores())


def test_retention_of_the_table_holds_and_a_table_may_compact_itself(life, spark) -> None:
    one = life()
    one.append(*((key, float(key), day(1)) for key in range(100)))
    one.score()
    scatter(one, 60)
    scores = one.lake.table("scores")
    spark.sql(
        f"ALTER TABLE {scores.sql_name} SET TBLPROPERTIES ("
        "delta.autoOptimize.autoCompact = true, "
        "delta.deletedFileRetentionDuration = 'interval 30 days')"
    )
    found = planned(one)
    assert found["optimise", "scores"] == (False, "the table compacts itself (delta.autoOptimize)")
    assert found["vacuum", "scores"] == (False, "no file is out of use for more than 30 days")


def test_leftovers_go_by_their_age(life, spark) -> None:
    one = life(quarantine_retention="1 second")
    one.append((1, -1.0, day(1)))
    one.score()
    staging = Path(one.settings.staging)
    old = f"{datetime.now(timezone.utc) - timedelta(days=8):%Y%m%dT%H%M%SZ}-0a1b2c"
    young, foreign = new_run_id(), "mine"
    for name in (old, young, foreign):
        (staging / name / "deeper").mkdir(parents=True)
        spark.range(500).coalesce(1).write.parquet(str(staging / name / "rows"))
    assert sorted(_listed(spark, str(staging))) == sorted([old, young])

    predictions = one.workload.predictions
    assert predictions is not None
    quarantine = one.lake.table(predictions.quarantine)
    lost = quarantine.read(spark).withColumn("_attempt_id", F.lit("lost"))
    lost.write.format("delta").mode("append").save(quarantine.path)
    found = planned(one)
    assert found["staged rows", one.settings.staging][0]
    assert found["attempts", "scores_quarantine (linear)"][0]

    result = maintain(spark, one.settings, [one.workload])
    assert result.counts == {"staged rows": 1, "attempts": 1, "payloads": 1}
    assert sorted(path.name for path in staging.iterdir()) == sorted([young, foreign])
    assert [row._payload for row in quarantine.read(spark).collect()] == [None]
    assert predictions_log(spark, one.lake, NAME, predictions).lost_attempts() == []


def test_an_emptied_folder_on_other_storage_is_not_found_again(spark, tmp_path: Path) -> None:
    folder = tmp_path / "20200101T000000Z-0a1b2c"
    spark.range(500).write.parquet(str(folder))
    assert _listed(spark, str(tmp_path)) == [folder.name]
    spark.createDataFrame([], "emptied boolean").coalesce(1).write.mode("overwrite").parquet(
        str(folder)
    )
    assert list(folder.glob("*.parquet"))
    assert _listed(spark, str(tmp_path)) == []
    clear_folder(spark, str(folder))


def test_a_shared_table_is_maintained_once_and_a_foreign_one_not_at_all(life, spark) -> None:
    one = life()
    one.append((1, 1.0, day(1)))
    one.score()
    other = one.workload.model_copy(update={"name": "other"})
    plan = plan_maintenance(spark, one.settings, [one.workload, other])
    assert [chore.kind for chore in plan.chores if chore.where == "scores"].count("vacuum") == 1

    spark.range(1).write.format("delta").save(one.lake.table("mine").path)
    with pytest.raises(ForeignTable, match="mine is not a predictions table"):
        plan_maintenance(spark, one.settings, [workload({"table": "mine"})])
