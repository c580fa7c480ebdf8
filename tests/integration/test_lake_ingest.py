"""Ingest: each file, partition or batch exactly once, or nothing and a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, orc
from pyarrow import parquet as pq

from lakescore.config.settings import LakeSettings
from lakescore.errors import (
    ColumnMissing,
    CorruptFile,
    ForeignTable,
    SourceChanged,
    TableNotFound,
    TypeMismatch,
)
from lakescore.lake.copies import append_frame
from lakescore.lake.ingest import ingest_files
from lakescore.lake.ingest_table import ingest_table
from lakescore.lake.tables import Lake, Table
from lakescore.workflows.ingest import ingest

pytestmark = pytest.mark.spark


@pytest.fixture
def table(lake_root: Path) -> Table:
    return Lake(LakeSettings(root=str(lake_root))).table("bronze.copy")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "in box"
    folder.mkdir()
    return folder


def rows(spark, table: Table) -> list[tuple]:
    return sorted(tuple(row)[:-1] for row in table.read(spark).collect())


def test_csv_files_come_in_once_each_and_in_the_first_ones_schema(spark, table, inbox: Path):
    (inbox / "a.csv").write_text("id,name\n1,x\n2,\n")
    (inbox / "b.csv").write_text("id,name\n3,z\n")
    first = ingest_files(spark, table, [str(inbox)], "csv")
    assert (first.found, first.added, first.rows, first.version) == (2, 2, 3, 0)
    assert rows(spark, table) == [(1, "x"), (2, None), (3, "z")]
    assert table.detail(spark).has_change_feed
    assert table.detail(spark).reader_version == 1

    bad = inbox / "c.csv"
    bad.write_text("id,name\nfive,v\n")
    with pytest.raises(CorruptFile, match=r"a record .*does not fit the schema"):
        ingest_files(spark, table, str(inbox), "csv")
    bad.write_text("name,id\nv,5\n")
    with pytest.raises(ColumnMissing, match=r"the header of .*c\.csv"):
        ingest_files(spark, table, str(inbox), "csv")
    bad.unlink()
    os.utime(inbox / "a.csv", (1, 1))
    with pytest.raises(SourceChanged, match=r"a\.csv changed after it was ingested"):
        ingest_files(spark, table, str(inbox), "csv")
    assert len(rows(spark, table)) == 3


def write(path: Path, *found: tuple[int, str]) -> None:
    """A file in the format of its ending, as another program writes it."""
    ids, names = zip(*found, strict=True)
    data = pa.table({"id": pa.array(ids, pa.int64()), "name": list(names)})
    if path.suffix == ".parquet":
        pq.write_table(data, path)
    elif path.suffix == ".orc":
        orc.write_table(data, path)
    elif path.suffix == ".csv":
        csv.write_csv(data, path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in data.to_pylist()))


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "orc"])
def test_each_file_of_a_format_comes_in_once(spark, settings, inbox: Path, ending: str):
    def ingested() -> tuple[str, dict[str, int]]:
        glob = str(inbox / f"*.{ending}")
        result = ingest(spark, settings, table="bronze.copy", source=glob)
        return result.status.value, result.counts

    write(inbox / f"a.{ending}", (1, "x"), (2, "y"))
    assert ingested() == ("DONE", {"found": 1, "added": 1, "rows": 2})
    write(inbox / f"b.{ending}", (3, "z"))
    assert ingested() == ("DONE", {"found": 2, "added": 1, "rows": 1})
    assert ingested() == ("NOTHING_TO_DO", {"found": 2, "added": 0, "rows": 0})
    copied = Lake(settings.lake).table("bronze.copy").read(spark)
    whole = "int" if ending == "csv" else "bigint"  # text has no types: the least that fits
    assert dict(copied.dtypes[:2]) == {"id": whole, "name": "string"}
    assert sorted(tuple(row)[:2] for row in copied.collect()) == [(1, "x"), (2, "y"), (3, "z")]


def test_a_corrupt_parquet_file_leaves_the_copy_as_it_was(spark, table, inbox: Path):
    spark.createDataFrame([(1,)], "id int").coalesce(1).write.parquet(str(inbox / "day=2013-01-01"))
    bad = inbox / "day=2013-01-02"
    bad.mkdir()
    (bad / "b.parquet").write_text("this is not Parquet, whatever its name says")
    with pytest.raises(CorruptFile, match=r"b\.parquet is corrupt"):
        ingest_files(spark, table, str(inbox), "parquet")
    assert not table.exists(spark)

    (bad / "b.parquet").unlink()
    assert ingest_files(spark, table, str(inbox), "parquet").rows == 1
    [(number, day)] = rows(spark, table)
    assert (number, str(day)) == (1, "2013-01-01")

    other = spark.createDataFrame([("2",)], "id string").coalesce(1)
    other.write.parquet(str(inbox / "day=2013-01-03"))
    with pytest.raises(TypeMismatch, match="'id' is string, the table has int"):
        ingest_files(spark, table, str(inbox), "parquet")
    assert len(rows(spark, table)) == 1


def test_what_cannot_be_ingested_says_so(spark, table, inbox: Path):
    with pytest.raises(TableNotFound, match="no files at"):
        ingest_files(spark, table, str(inbox / "nothing"), "json")
    (inbox / "a.json").write_text('{"id": 1}\n')
    spark.range(1).write.format("delta").save(table.path)
    with pytest.raises(ForeignTable, match="not a copy made by lakescore ingest"):
        ingest_files(spark, table, str(inbox), "json")


def test_a_catalog_table_comes_in_by_partition(spark, table):
    spark.sql("CREATE TABLE lake_hive_test (id INT, day STRING) USING PARQUET PARTITIONED BY (day)")
    try:
        spark.sql("INSERT INTO lake_hive_test VALUES (1, 'a b'), (2, null)")
        assert ingest_table(spark, table, "lake_hive_test").added == 2
        spark.sql("INSERT INTO lake_hive_test VALUES (3, 'c')")
        second = ingest_table(spark, table, "lake_hive_test")
        assert (second.found, second.added, second.rows) == (3, 1, 1)
        assert ingest_table(spark, table, "lake_hive_test").added == 0
        assert sorted(row.id for row in table.read(spark).collect()) == [1, 2, 3]
    finally:
        spark.sql("DROP TABLE lake_hive_test")
    with pytest.raises(TableNotFound, match="there is no table lake_hive_test") as caught:
        ingest_table(spark, table, "lake_hive_test")
    assert "set spark.sql.catalogImplementation: hive" in str(caught.value)


def test_a_frame_is_appended_once_per_batch_id(spark, table):
    frame = spark.createDataFrame([(1,)], "id int").coalesce(1)
    assert append_frame(spark, table, frame, "2013-12-01").committed
    assert append_frame(spark, table, frame, "2013-12-02").committed
    assert not append_frame(spark, table, frame, "2013-12-01").committed
    assert table.read(spark).count() == 2
