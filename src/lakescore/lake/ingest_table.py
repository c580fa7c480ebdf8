"""Ingest of catalog tables (Hive and other), each partition exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.utils import AnalysisException

from lakescore.config.base import quoted
from lakescore.errors import SourceChanged, TableNotFound
from lakescore.lake.copies import Batch, Copy, IngestOutcome, ingest, with_origin
from lakescore.lake.ingest import list_files, literal_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Table

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def ingest_table(spark: SparkSession, table: Table, source: str) -> IngestOutcome:
    """Append the partitions of a catalog table (Hive or other) that are not in the copy yet.

    A partition that is in is not read again, even if it was rewritten. A table without partitions
    is copied once, as a whole. Raises TableNotFound, SourceChanged for an unpartitioned table
    whose files changed since, TypeMismatch and ForeignTable.
    """
    rows = _source_table(spark, source)
    columns = _partition_columns(spark, source)
    state = "" if columns else _files_token(spark, rows, source)
    token = _partition_token(columns) if columns else F.lit(state)

    def batch(copy: Copy) -> Batch:
        tokens = _partitions(spark, rows, source, columns) if columns else [state]
        fresh = sorted(set(tokens) - copy.files())
        if not columns and fresh and copy.files():
            raise SourceChanged(
                f"the files of {source} changed since it was copied, and it has no partitions "
                "by which new rows could be told",
                where=table.name,
                hint="copy it into a new table, or partition the source",
            )
        if not fresh:
            return Batch(len(tokens), 0, None)
        origin = F.struct(
            token.alias("file"),
            F.lit(None).cast("bigint").alias("bytes"),
            F.lit(None).cast("timestamp").alias("modified"),
            F.lit(copy.next_batch).alias("batch"),
        )
        return Batch(len(tokens), len(fresh), with_origin(rows.where(token.isin(fresh)), origin))

    return ingest(spark, table, batch)


def _source_table(spark: SparkSession, source: str) -> DataFrame:
    try:
        return spark.table(_sql_name(source))
    except AnalysisException as error:
        raise TableNotFound(
            f"there is no table {source} in the catalog",
            where=source,
            hint=_where_to_look(spark),
        ) from error


def _where_to_look(spark: SparkSession) -> str:
    if spark.conf.get("spark.sql.catalogImplementation", "in-memory") == "in-memory":
        return (
            "this session knows no Hive metastore: set spark.sql.catalogImplementation: hive and "
            "the metastore's address under spark.conf of conf/ENV.yml"
        )
    return "write the name as in SHOW TABLES; ingest files by their path"


def _sql_name(source: str) -> str:
    return ".".join(quoted(part) for part in source.split("."))


def _partition_columns(spark: SparkSession, source: str) -> list[str]:
    """From DESCRIBE TABLE: the rows below its '# Partition Information' and '# col_name'."""
    names = [row["col_name"] for row in spark.sql(f"DESCRIBE TABLE {_sql_name(source)}").collect()]
    if "# Partition Information" not in names:
        return []
    return names[names.index("# Partition Information") + 2 :]


def _partition_token(columns: Sequence[str]) -> Column:
    """A row's partition as text, `day=2013-01-01/hour=5`, from its typed values."""
    steps = [
        F.concat(
            F.lit(f"{name}="),
            F.coalesce(F.col(quoted(name)).cast("string"), F.lit(_NULL_PARTITION)),
        )
        for name in columns
    ]
    return F.concat_ws("/", *steps)


def _partitions(
    spark: SparkSession, rows: DataFrame, source: str, columns: Sequence[str]
) -> list[str]:
    """The tokens of all partitions, from the catalog alone."""
    specs = [row[0] for row in spark.sql(f"SHOW PARTITIONS {_sql_name(source)}").collect()]
    if not specs:
        return []
    values = [tuple(_value(step) for step in spec.split("/")) for spec in specs]
    types = {field.name: field.dataType for field in rows.schema}
    listed = spark.createDataFrame(values, ", ".join(f"{quoted(name)} string" for name in columns))
    typed = listed.select(*(F.col(quoted(c)).cast(types[c]).alias(c) for c in columns))
    return [
        row["token"] for row in typed.select(_partition_token(columns).alias("token")).collect()
    ]


def _value(step: str) -> str | None:
    value = unquote(step.partition("=")[2])
    return None if value == _NULL_PARTITION else value


def _files_token(spark: SparkSession, rows: DataFrame, source: str) -> str:
    """The state of a table without partitions: a hash over its files.

    Of a table in one of Hive's own formats (text) Spark names the folder alone, which stays the
    same whatever lands in it: its files are listed, with size and time, for Hive reuses names.
    """
    names = rows.inputFiles()
    location = _location(spark, source)
    if location is not None and [unquote(name) for name in names] == [location]:
        listing = list_files(spark, [literal_path(location)], source)
        names = ["|".join(map(str, row)) for row in listing.drop("path").collect()]
    text = "\n".join(sorted(names))
    return f"files={hashlib.sha256(text.encode()).hexdigest()}"


def _location(spark: SparkSession, source: str) -> str | None:
    """From DESCRIBE TABLE EXTENDED: the folder of a table that has one."""
    described = spark.sql(f"DESCRIBE TABLE EXTENDED {_sql_name(source)}")
    found = described.where("col_name = 'Location'").first()
    return found["data_type"] if found else None
