"""Ingest of files: a Delta copy of CSV, JSON, Parquet or ORC files, each file exactly once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F
from pyspark.sql.utils import AnalysisException

from lakescore.errors import EmptyTable, SourceChanged, TableNotFound, UsageError
from lakescore.lake.copies import Batch, Copy, IngestOutcome, ingest, with_origin

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.lake.tables import Table

Format = Literal["csv", "json", "parquet", "orc"]

#: Strict by default: what does not fit is an error, never a null. The caller's options win.
_STRICT: dict[str, dict[str, str]] = {
    "csv": {"header": "true", "mode": "FAILFAST", "enforceSchema": "false"},
    "json": {"mode": "FAILFAST"},
    "parquet": {"mergeSchema": "true"},
    "orc": {"mergeSchema": "true"},
}
#: Formats that do not carry their schema: it is inferred from the first batch, then kept.
_INFERRED = ("csv", "json")
_GLOB = re.compile(r"([{}\[\]*?\\])")


def ingest_files(
    spark: SparkSession,
    table: Table,
    paths: str | Sequence[str],
    format: Format,
    *,
    schema: str | None = None,
    options: Mapping[str, str] | None = None,
) -> IngestOutcome:
    """Append the files at `paths` (files, folders, globs) that are not in the copy yet.

    `schema` is DDL; without it CSV and JSON take the copy's schema, inferred from the first
    batch, and Parquet and ORC their own, which may add columns. The copy gets the change feed.
    Raises TableNotFound where there are no files, SourceChanged for a file that was changed after
    it was ingested, CorruptFile, TypeMismatch, ColumnMissing and ForeignTable; then nothing was
    committed. A file without rows leaves no trace in the copy and is looked at again.
    """
    if format not in _STRICT:
        known = ", ".join(_STRICT)
        raise UsageError(f"'{format}' is not a format of files", hint=f"known: {known}")
    places = [paths] if isinstance(paths, str) else list(paths)
    all_options = {**_STRICT[format], **(options or {})}

    def batch(copy: Copy) -> Batch:
        listing = list_files(spark, places, table.name)
        fresh = _new_files(listing, copy)
        if not fresh:
            return Batch(listing.count(), 0, None)
        kept = copy.source_schema if format in _INFERRED else None
        reader = spark.read.format(format).options(**all_options)
        rows = _load(reader, format, schema or kept, places, fresh)
        origin = F.struct(
            F.col("_metadata.file_path").alias("file"),
            F.col("_metadata.file_size").alias("bytes"),
            F.col("_metadata.file_modification_time").alias("modified"),
            F.lit(copy.next_batch).alias("batch"),
        )
        return Batch(listing.count(), len(fresh), with_origin(rows, origin))

    return ingest(spark, table, batch)


def read_files(spark: SparkSession, path: str, format: Format) -> DataFrame:
    """The rows at `path` as the first ingest of them would take them; nothing is copied.

    Raises TableNotFound where there are no files, and EmptyTable where all are empty.
    """
    files = sorted(row["path"] for row in list_files(spark, [path], path).collect())
    if not files:
        raise EmptyTable("there is nothing in it", where=path)
    return _load(spark.read.format(format).options(**_STRICT[format]), format, None, [path], files)


def list_files(spark: SparkSession, places: Sequence[str], where: str) -> DataFrame:
    """The files that are not empty, as Spark lists them on any storage; contents stay unread."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    try:
        listing = reader.load(list(places))
    except AnalysisException as error:
        raise TableNotFound(
            f"no files at {', '.join(places)}: {str(error).strip().splitlines()[0]}",
            where=where,
            hint="check the path, and that this machine may read it",
        ) from error
    return listing.where("length > 0").select(
        "path",
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_size").alias("bytes"),
        F.col("_metadata.file_modification_time").alias("modified"),
    )


def _new_files(listing: DataFrame, copy: Copy) -> list[str]:
    """Paths that are not in the copy. Raises SourceChanged for one that is in, but differs."""
    if copy.origins is None:
        return sorted(row["path"] for row in listing.select("path").collect())
    known = copy.origins.select(
        "file", F.col("bytes").alias("old_bytes"), F.col("modified").alias("old_modified")
    )
    same = (F.col("bytes") == F.col("old_bytes")) & (F.col("modified") == F.col("old_modified"))
    is_new = F.col("old_bytes").isNull()
    joined = listing.join(known, "file", "left").where(is_new | ~same)
    rows = joined.select("path", is_new.alias("is_new")).collect()
    changed = sorted(row["path"] for row in rows if not row["is_new"])
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise SourceChanged(
            f"{', '.join(changed[:3])}{more} changed after it was ingested",
            where=copy.table.name,
            hint="rows of a copy are never replaced: land the new content under a new file name",
        )
    return sorted(row["path"] for row in rows)


def _load(
    reader: DataFrameReader,
    format: str,
    schema: str | StructType | None,
    places: Sequence[str],
    files: Sequence[str],
) -> DataFrame:
    """The rows of the files; partition values in folder names become columns."""
    base = _partitioned_below(places, files)
    if base is not None:
        reader = reader.option("basePath", base)
    if schema is not None:
        reader = reader.schema(schema)
    elif format == "csv":
        reader = reader.option("inferSchema", "true")
    return reader.load([literal_path(file) for file in files])


def literal_path(path: str) -> str:
    """`path` with what Spark would take for a glob escaped."""
    return _GLOB.sub(r"\\\1", path)


def _partitioned_below(places: Sequence[str], files: Sequence[str]) -> str | None:
    """The one folder given, if the files below it lie in folders like `day=2013-01-01`."""
    if len(places) != 1:
        return None
    bare = re.sub(r"^file:/*(?=/)", "", places[0]).rstrip("/")
    folders = (file.partition(f"{bare}/")[2].rpartition("/")[0] for file in files)
    return places[0] if any("=" in folder for folder in folders) else None
