"""What the commit protocol asks of Delta, on the oldest Delta that lakescore runs on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from lakescore.session import PINS


@pytest.fixture
def table(lake_root: Path) -> str:
    return str(lake_root / "table")


def append(df: DataFrame, path: str, **options: object) -> None:
    df.coalesce(1).write.format("delta").mode("append").options(**options).save(path)


def numbers(spark: SparkSession, values: Iterable[int]) -> DataFrame:
    return spark.createDataFrame([(value,) for value in values], "n bigint")


def rows(spark: SparkSession, path: str, **options: object) -> list[int]:
    df = spark.read.format("delta").options(**options).load(path)
    return sorted(row.n for row in df.collect())


def test_session_is_pinned(spark: SparkSession) -> None:
    assert spark.version.startswith("3.3.")
    assert {key: spark.conf.get(key) for key in PINS} == PINS


def test_used_transaction_number_is_skipped_and_the_next_one_is_not(
    spark: SparkSession, table: str
) -> None:
    append(numbers(spark, [1]), table, txnAppId="scores", txnVersion=1)
    append(numbers(spark, [2]), table, txnAppId="scores", txnVersion=1)
    append(numbers(spark, [3]), table, txnAppId="scores", txnVersion=2)
    assert rows(spark, table) == [1, 3]


def test_empty_append_commits_its_metadata(spark: SparkSession, table: str) -> None:
    append(numbers(spark, [1]), table, txnAppId="scores", txnVersion=1)
    append(numbers(spark, []), table, txnAppId="scores", txnVersion=2, userMetadata="run 2")
    history = spark.sql(f"DESCRIBE HISTORY delta.`{table}` LIMIT 1").first()
    assert (history.version, history.userMetadata) == (1, "run 2")
    assert rows(spark, table) == [1]


def test_version_as_of_reads_the_past(spark: SparkSession, table: str) -> None:
    append(numbers(spark, [1]), table)
    append(numbers(spark, [2]), table)
    assert rows(spark, table, versionAsOf=0) == [1]


def test_change_feed_gives_the_rows_of_a_range(spark: SparkSession, table: str) -> None:
    spark.sql(
        f"CREATE TABLE delta.`{table}` (n BIGINT) USING delta "
        "TBLPROPERTIES (delta.enableChangeDataFeed = true)"
    )
    for value in (1, 2, 3):
        append(numbers(spark, [value]), table)
    changed = rows(spark, table, readChangeFeed="true", startingVersion=2, endingVersion=3)
    assert changed == [2, 3]


def test_merge_under_a_used_transaction_number_is_skipped(spark: SparkSession, table: str) -> None:
    append(numbers(spark, [1]), table)
    child = spark.newSession()
    child.conf.set("spark.databricks.delta.write.txnAppId", "scores")
    child.conf.set("spark.databricks.delta.write.txnVersion", "1")
    for value in (2, 3):
        child.sql(
            f"MERGE INTO delta.`{table}` t USING (SELECT {value}L AS n) s ON t.n = s.n "
            "WHEN NOT MATCHED THEN INSERT *"
        )
    assert rows(spark, table) == [1, 2]
