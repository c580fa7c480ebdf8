"""Rows appended since a version, with the change feed and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakescore.config.settings import LakeSettings
from lakescore.errors import SourceChanged
from lakescore.lake.changes import ADDED_FILES, CHANGE_FEED, rows_since
from lakescore.lake.snapshot import pin
from lakescore.lake.tables import Lake, Table

pytestmark = pytest.mark.spark


@pytest.fixture
def lake(lake_root: Path) -> Lake:
    return Lake(LakeSettings(root=str(lake_root)))


def append(spark, table: Table, rows: list[tuple], columns: str, **options: str) -> None:
    frame = spark.createDataFrame(rows, columns).coalesce(1)
    partitions = [name for name in ("day",) if name in frame.columns]
    writer = frame.write.format("delta").mode("append").options(**options)
    writer.partitionBy(*partitions).save(table.path)


def new_ids(spark, table: Table, after: int | None) -> list[int]:
    rows = rows_since(spark, pin(spark, table), after).rows()
    return sorted(row.id for row in rows.select("id").collect())


@pytest.mark.parametrize("feed", ["true", "false"])
def test_appends_count_and_moving_rows_does_not(spark, lake: Lake, feed: str):
    table, columns = lake.table("s"), "id int, day string"
    append(spark, table, [(1, "a b"), (2, "x}y")], columns, **{"delta.enableChangeDataFeed": feed})
    append(spark, table, [(3, "a b"), (4, None)], columns)
    spark.sql(f"OPTIMIZE {table.sql_name}")
    append(spark, table, [(5, "x}y", 0.5)], "id int, day string, extra double", mergeSchema="true")
    snapshot = pin(spark, table)

    rows = rows_since(spark, snapshot, 0).rows()
    assert rows.columns == ["id", "day", "extra"]
    assert sorted(map(tuple, rows.collect())) == [
        (3, "a b", None),
        (4, None, None),
        (5, "x}y", 0.5),
    ]
    assert new_ids(spark, table, None) == [1, 2, 3, 4, 5]
    assert new_ids(spark, table, 3) == []


@pytest.mark.parametrize("feed", ["true", "false"])
def test_changed_rows_are_refused_naming_the_commits(spark, lake: Lake, feed: str):
    table = lake.table("s")
    append(spark, table, [(1,), (2,)], "id int", **{"delta.enableChangeDataFeed": feed})
    append(spark, table, [(3,)], "id int")
    spark.sql(f"DELETE FROM {table.sql_name} WHERE id = 1")
    with pytest.raises(SourceChanged) as caught:
        new_ids(spark, table, 0)
    assert "version 2 (DELETE, 20" in caught.value.what
    assert "version 1 " not in caught.value.what
    assert caught.value.where == "s@2"
    assert str(caught.value.hint).startswith("where old rows are only retired, `on_delete: ignore`")
    spark.sql(f"UPDATE {table.sql_name} SET id = 4 WHERE id = 3")
    with pytest.raises(SourceChanged, match=r"version 3 \(UPDATE") as caught:
        new_ids(spark, table, 1)
    assert str(caught.value.hint).startswith("`mode: upsert` follows rows that change or go")
    spark.createDataFrame([(9,)], "id int").write.format("delta").mode("overwrite").save(table.path)
    with pytest.raises(SourceChanged, match=r"version 4 \(WRITE") as caught:
        new_ids(spark, table, 3)
    assert str(caught.value.hint).startswith("`mode: snapshot` scores the whole table once a day")


def test_a_restore_is_refused_though_it_only_adds_files(spark, lake: Lake):
    table = lake.table("s")
    append(spark, table, [(1,)], "id int")
    spark.sql(f"DELETE FROM {table.sql_name}")
    spark.sql(f"RESTORE TABLE {table.sql_name} TO VERSION AS OF 0")
    with pytest.raises(SourceChanged, match=r"version 2 \(RESTORE") as caught:
        new_ids(spark, table, 1)
    assert "`mode: snapshot`" in str(caught.value.hint)


@pytest.mark.parametrize("feed", ["true", "false"])
def test_a_merge_that_only_inserts_is_an_append(spark, lake: Lake, feed: str):
    table = lake.table("s")
    append(spark, table, [(1,), (2,)], "id int", **{"delta.enableChangeDataFeed": feed})
    spark.sql(
        f"MERGE INTO {table.sql_name} t USING (SELECT explode(array(2, 3)) AS id) s "
        "ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )
    assert new_ids(spark, table, 0) == [3]


def test_where_files_were_rewritten_the_change_feed_tells_what_came(spark, lake: Lake):
    """A MERGE that would have updated: the file of the row that matched is written again."""
    table = lake.table("s")
    append(spark, table, [(1,), (2,)], "id int", **{"delta.enableChangeDataFeed": "true"})
    assert rows_since(spark, pin(spark, table), None).are_files
    append(spark, table, [(3,)], "id int")
    told = rows_since(spark, pin(spark, table), 0)
    assert (told.read_by, told.are_files) == (ADDED_FILES, True)
    spark.sql(
        f"MERGE INTO {table.sql_name} t USING (SELECT explode(array(2, 4)) AS id) s "
        "ON t.id = s.id WHEN MATCHED AND t.id > 2 THEN UPDATE SET id = 9 "
        "WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )
    told = rows_since(spark, pin(spark, table), 0)
    assert new_ids(spark, table, 0) == [3, 4]
    assert (told.read_by, told.are_files) == (CHANGE_FEED, False)


@pytest.fixture
def elsewhere(spark):
    """A writer in another time zone, until what it gives is called."""
    zones = spark.sparkContext._jvm.java.util.TimeZone
    before = spark.conf.get("spark.sql.session.timeZone"), zones.getDefault()

    def write_in(name: str, zone: Any) -> None:
        spark.conf.set("spark.sql.session.timeZone", name)
        zones.setDefault(zone)

    write_in("Europe/Berlin", zones.getTimeZone("Europe/Berlin"))
    yield lambda: write_in(*before)
    write_in(*before)


@pytest.mark.parametrize("feed", ["true", "false"])
def test_a_time_in_a_folders_name_counts_only_where_the_log_says_the_same(
    spark, lake: Lake, feed: str, elsewhere
):
    """Delta names the folder by the writer's clock, and logs UTC."""
    table = lake.table("s")
    rows = spark.sql("SELECT 1 AS id, TIMESTAMP'2024-01-01 00:00:00' AS at").coalesce(1)
    for _ in range(2):
        writer = rows.write.format("delta").mode("append").partitionBy("at")
        writer.option("delta.enableChangeDataFeed", feed).save(table.path)
    elsewhere()
    truth = sorted(str(row.at) for row in table.read(spark).collect())
    snapshot = pin(spark, table)
    if feed == "false":
        with pytest.raises(SourceChanged, match="does not say what the log says of it"):
            rows_since(spark, snapshot, 0)
    else:
        told = rows_since(spark, snapshot, 0)
        assert told.read_by == CHANGE_FEED
        assert [str(row.at) for row in told.rows().collect()] == truth[:1]
    spark.sql(f"INSERT INTO {table.sql_name} VALUES (2, TIMESTAMP'2024-02-01 00:00:00.5')")
    told = rows_since(spark, pin(spark, table), 1)
    assert told.read_by == ADDED_FILES
    assert [str(row.at) for row in told.rows().collect()] == ["2024-02-01 00:00:00.500000"]


def test_a_file_that_spark_would_pass_over_is_not_passed_over(spark, lake: Lake):
    table = lake.table("s")
    append(spark, table, [(1,)], "id int", **{"delta.enableChangeDataFeed": "true"})
    append(spark, table, [(2,)], "id int")
    (log,) = Path(table.path).glob("_delta_log/*1.json")
    (stored,) = (
        path for path in Path(table.path).glob("*.parquet") if path.name in log.read_text()
    )
    log.write_text(log.read_text().replace(stored.name, f"_{stored.name}"))
    log.with_name(f".{log.name}.crc").unlink()
    stored.rename(stored.with_name(f"_{stored.name}"))
    assert new_ids(spark, table, 0) == [2]


def test_a_change_feed_turned_on_inside_the_range_falls_back_to_the_files(spark, lake: Lake):
    table = lake.table("s")
    append(spark, table, [(1,)], "id int")
    append(spark, table, [(2,)], "id int")
    spark.sql(f"ALTER TABLE {table.sql_name} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)")
    append(spark, table, [(3,)], "id int")
    assert new_ids(spark, table, 0) == [2, 3]
    assert new_ids(spark, table, 2) == [3]


def test_deletion_vectors_without_a_change_feed_ask_for_it(spark, lake: Lake):
    table = lake.table("s")
    append(spark, table, [(1,)], "id int", **{"delta.enableDeletionVectors": "true"})
    append(spark, table, [(2,)], "id int")
    with pytest.raises(SourceChanged) as caught:
        new_ids(spark, table, 0)
    assert "enableChangeDataFeed = true" in str(caught.value.hint)


def test_a_table_created_again_is_not_the_source_any_more(spark, lake: Lake):
    table = lake.table("s")
    append(spark, table, [(1,)], "id int")
    with pytest.raises(SourceChanged, match="dropped and created again"):
        rows_since(spark, pin(spark, table), 0, table_id="of the first one")
    with pytest.raises(SourceChanged, match="dropped and created again"):
        rows_since(spark, pin(spark, table), 5)
