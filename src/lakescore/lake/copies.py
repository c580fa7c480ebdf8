"""Append-only Delta copies: batches that land at most once, and what is already in.

What is in is read from the copy itself: every row carries `_ingest`, the file (or partition) that
it came from, so progress outlives any cleaning of history. Which of two runs at once commits is
decided by the number of the batch, as for predictions.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from lakescore.errors import CommitConflict, ForeignTable
from lakescore.lake.creation import LOWEST_PROTOCOL, create_table
from lakescore.lake.history import recent_commits, refuse_newer
from lakescore.lake.schemas import INGEST, check_names_are_plain, check_rows_fit
from lakescore.lake.spark_errors import reading
from lakescore.lake.writes import Append, WriteOutcome, write_once

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.lake.tables import Table

_ORIGIN = "struct<file: string, bytes: bigint, modified: timestamp, batch: bigint>"
_COPY_PROPERTIES = {
    **LOWEST_PROTOCOL,
    "delta.minWriterVersion": "4",
    "delta.enableChangeDataFeed": "true",
}
_APP_ID = "lakescore:ingest"
_TRIES = 5


@dataclass(frozen=True)
class IngestOutcome:
    """`added` files or partitions (and their `rows`) of the `found` ones; 0 means nothing new.

    `version` is the copy's version that added them, None when there was nothing new.
    """

    table: str
    found: int
    added: int
    rows: int
    version: int | None


@dataclass(frozen=True)
class Batch:
    """What one run is to append: `added` of `found` files or partitions; None: nothing new."""

    found: int
    added: int
    rows: DataFrame | None


@dataclass(frozen=True)
class Copy:
    """A copy as it stands: its schema (None: not there yet) and the next batch number."""

    table: Table
    schema: StructType | None
    origins: DataFrame | None
    next_batch: int

    @classmethod
    def of(cls, spark: SparkSession, table: Table, above: int) -> Copy:
        if not table.exists(spark):
            return cls(table, None, None, above + 1)
        rows = table.read(spark)
        if INGEST not in rows.columns:
            raise ForeignTable(
                f"{table.name} is not a copy made by lakescore ingest: it has no column {INGEST}",
                where=table.location,
                hint="ingest into a new table",
            )
        newest = rows.agg(F.max(f"{INGEST}.batch").alias("batch")).first()
        of_rows = 0 if newest is None or newest["batch"] is None else int(newest["batch"])
        commits = recent_commits(spark, table, 16)
        for commit in commits:
            refuse_newer(commit.metadata, f"{table.name}: {commit.describe()}")
        of_commits = max(
            (
                int(commit.metadata["commit_seq"])
                for commit in commits
                if commit.metadata.get("app_id") == _APP_ID
            ),
            default=0,
        )
        origins = rows.select(f"{INGEST}.*").distinct()
        return cls(table, rows.schema, origins, max(of_rows, of_commits, above) + 1)

    @property
    def source_schema(self) -> StructType | None:
        """The copy's schema without lakescore's own column; None before the first batch."""
        from pyspark.sql.types import StructType

        if self.schema is None:
            return None
        return StructType([field for field in self.schema if field.name != INGEST])

    def files(self) -> set[str]:
        """The partitions that are in."""
        if self.origins is None:
            return set()
        return {row["file"] for row in self.origins.select("file").distinct().collect()}


def ingest(spark: SparkSession, table: Table, batch_of: Callable[[Copy], Batch]) -> IngestOutcome:
    """Plan a batch and append it; plan afresh when another run appended first."""
    used = 0
    for _ in range(_TRIES):
        with reading(table.name):
            copy = Copy.of(spark, table, used)
            batch = batch_of(copy)
            if batch.rows is None:
                return IngestOutcome(table.name, batch.found, 0, 0, None)
            outcome = _append(
                spark,
                table,
                batch.rows,
                copy.schema,
                app_id=_APP_ID,
                number=copy.next_batch,
                metadata={"kind": "ingest", "added": batch.added},
            )
        if outcome.commit is not None:
            written = outcome.commit.rows_written or 0
            return IngestOutcome(
                table.name, batch.found, batch.added, written, outcome.commit.version
            )
        used = copy.next_batch
    raise CommitConflict(
        f"other runs appended to the copy {_TRIES} times while this one read",
        where=table.name,
        hint="nothing was written; run again",
    )


def append_frame(spark: SparkSession, table: Table, rows: DataFrame, batch_id: str) -> WriteOutcome:
    """Append the rows exactly once per `batch_id`; makes the table, with the change feed.

    The outcome's `committed` is False when the batch was already in. After a RESTORE the ids
    stay used: bring rows back under a new id. Raises TypeMismatch and CorruptFile.
    """
    existing = table.read(spark).schema if table.exists(spark) else None
    with reading(table.name):
        return _append(
            spark,
            table,
            rows,
            existing,
            app_id=f"lakescore:batch:{batch_id}",
            number=1,
            metadata={"kind": "batch", "batch_id": batch_id},
        )


def with_origin(rows: DataFrame, origin: Column) -> DataFrame:
    """The rows with their `_ingest` column: a struct of file, bytes, modified and batch."""
    return rows.select("*", origin.cast(_ORIGIN).alias(INGEST))


def _append(
    spark: SparkSession,
    table: Table,
    rows: DataFrame,
    existing: StructType | None,
    *,
    app_id: str,
    number: int,
    metadata: Mapping[str, Any],
) -> WriteOutcome:
    """Append once; a table by path is made by the append itself, so that a failure leaves none."""
    options: dict[str, str] = {}
    created = False
    if existing is None:
        check_names_are_plain(rows.columns, where=table.name)
        options = dict(_COPY_PROPERTIES)
        if table.path is None:
            comment = "Append-only copy by lakescore"
            created = create_table(
                spark, table, rows.schema, role="copy", comment=comment, properties=options
            )
            options = {}
    elif check_rows_fit(rows.schema, existing, where=table.name):
        options = {"mergeSchema": "true"}
    try:
        return write_once(
            spark,
            lambda _: rows,
            table,
            Append(options),
            app_id=app_id,
            number=number,
            attempt_id=uuid.uuid4().hex,
            metadata=metadata,
        )
    except Exception:
        if created:
            spark.sql(f"DROP TABLE IF EXISTS {table.sql_name}")
        raise
