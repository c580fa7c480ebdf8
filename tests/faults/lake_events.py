"""What happens to a lake outside of lakescore: versions, lost histories, foreign restores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.lake.tables import Table


def newest_version(table: Table) -> int:
    """The newest version of a table on this machine; -1 where there is none."""
    commits = _log(table).glob("*.json")
    return max((int(path.stem) for path in commits if path.stem.isdigit()), default=-1)


def lose_history(spark: SparkSession, table: Table) -> None:
    """What log retention does in a year: a checkpoint, and no commit before it.

    The newest commit is one that says nothing.
    """
    spark.sql(f"ALTER TABLE {table.sql_name} SET TBLPROPERTIES ('kept' = 'a year')").collect()
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, table.path)
    log.checkpoint()
    newest = newest_version(table)
    for path in _log(table).glob("*.json"):
        if path.stem.isdigit() and int(path.stem) < newest:
            path.unlink()
    for path in _log(table).glob(".*.json.crc"):
        path.unlink()


def restore_to(spark: SparkSession, table: Table, version: int) -> None:
    spark.sql(f"RESTORE TABLE {table.sql_name} TO VERSION AS OF {version}").collect()


def optimize(spark: SparkSession, table: Table) -> None:
    spark.sql(f"OPTIMIZE {table.sql_name}").collect()


def vacuum(spark: SparkSession, table: Table) -> None:
    """Remove every file that the newest version does not need."""
    check = "spark.databricks.delta.retentionDurationCheck.enabled"
    spark.conf.set(check, "false")
    try:
        spark.sql(f"VACUUM {table.sql_name} RETAIN 0 HOURS").collect()
    finally:
        spark.conf.unset(check)


def _log(table: Table) -> Path:
    assert table.path is not None
    return Path(table.path) / "_delta_log"
