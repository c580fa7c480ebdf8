"""Tables and pins on real Delta: what is read, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakescore.config.settings import LakeSettings
from lakescore.errors import CorruptFile, TableNotFound, VersionUnreadable
from lakescore.lake.snapshot import pin
from lakescore.lake.spark_errors import reading
from lakescore.lake.tables import Lake, Table

pytestmark = pytest.mark.spark


@pytest.fixture
def lake(lake_root: Path) -> Lake:
    return Lake(LakeSettings(root=str(lake_root)))


def write(spark, table: Table, ids: range, mode: str = "append") -> None:
    frame = spark.range(ids.start, ids.stop).coalesce(1)
    frame.write.format("delta").mode(mode).save(table.path)


def test_a_pin_keeps_reading_its_version(spark, lake: Lake):
    table = lake.table("bronze.flights")
    write(spark, table, range(2))
    snapshot = pin(spark, table)
    write(spark, table, range(2, 5))

    assert snapshot.version == 0
    assert snapshot.read(spark).count() == 2
    assert pin(spark, table).version == 1
    assert pin(spark, table, 0) == snapshot
    assert snapshot.describe() == {
        "table": "bronze.flights",
        "table_id": snapshot.table_id,
        "version": 0,
        "schema_hash": snapshot.schema_hash,
    }
    with pytest.raises(VersionUnreadable, match=r"version 7 of .* can no longer be read"):
        pin(spark, table, 7)


def test_a_missing_table_names_the_ones_that_are_there(spark, lake: Lake):
    write(spark, lake.table("bronze.flights"), range(1))
    with pytest.raises(TableNotFound) as caught:
        pin(spark, lake.table("bronze.flight"))
    assert "there is no Delta table at" in caught.value.what
    assert caught.value.hint == "did you mean 'bronze.flights'? known: bronze.flights"
    assert not lake.table("bronze.flight").exists(spark)


def test_parquet_files_without_a_log_are_for_ingest(spark, lake: Lake):
    table = lake.table("raw")
    spark.range(1).write.parquet(table.path)
    with pytest.raises(TableNotFound, match="holds Parquet files") as caught:
        table.read(spark)
    assert "lakescore ingest" in str(caught.value.hint)


def test_damaged_files_are_named_when_the_action_meets_them(spark, lake: Lake):
    table = lake.table("t")
    write(spark, table, range(3))
    snapshot = pin(spark, table)
    file = next(Path(str(table.path)).glob("*.parquet"))
    file.write_bytes(b"not parquet at all")
    file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
    with pytest.raises(CorruptFile, match=f"{file.name} is corrupt") as caught, reading(snapshot):
        snapshot.read(spark).groupBy().sum("id").collect()
    assert caught.value.where == "t@0"
    file.unlink()
    with pytest.raises(CorruptFile, match="by the table but is not there"), reading(snapshot):
        snapshot.read(spark).groupBy().sum("id").collect()


def test_catalog_names_work_like_paths(spark):
    lake = Lake(LakeSettings(catalog="spark_catalog"))
    table = lake.table("default.lake_tables_test")
    spark.range(2).write.format("delta").mode("overwrite").saveAsTable(str(table.identifier))
    try:
        assert pin(spark, table).read(spark).count() == 2
        with pytest.raises(TableNotFound) as caught:
            pin(spark, lake.table("default.lake_table_test"))
        assert "did you mean 'default.lake_tables_test'" in str(caught.value.hint)
    finally:
        spark.sql(f"DROP TABLE {table.sql_name}")
