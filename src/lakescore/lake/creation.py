"""How lakescore makes tables: lowest protocol, explicit schema, marked as its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakescore.config.base import quoted
from lakescore.errors import ForeignTable
from lakescore.lake.schemas import (
    check_names_are_plain,
    check_rows_fit,
    columns_ddl,
    string_literal,
)
from lakescore.lake.writes import lost_a_race, past_races

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

    from lakescore.lake.tables import Table

#: The table property that says what lakescore made the table for.
ROLE = "lakescore.role"

#: What any engine since Delta 1.0 reads and writes; Databricks would add deletion vectors.
LOWEST_PROTOCOL = {
    "delta.minReaderVersion": "1",
    "delta.minWriterVersion": "2",
    "delta.enableDeletionVectors": "false",
}
#: Commit metadata is what progress is read from: keep it for a year.
LOG_RETENTION = {"delta.logRetentionDuration": "interval 365 days"}


def create_table(
    spark: SparkSession,
    table: Table,
    schema: StructType,
    *,
    role: str,
    comment: str,
    partition_by: Sequence[str] = (),
    properties: Mapping[str, str] | None = None,
) -> bool:
    """Make the table unless it exists; safe when several runs do so at once.

    Returns whether this call made it, as far as it can tell.
    """
    if table.exists(spark):
        return False
    declared = {**LOWEST_PROTOCOL, **LOG_RETENTION, ROLE: role, **(properties or {})}
    listed = properties_sql(declared)
    partitioned = ", ".join(quoted(name) for name in partition_by)
    statement = (
        f"CREATE TABLE IF NOT EXISTS {table.sql_name} ({columns_ddl(schema)}) USING DELTA "
        + (f"PARTITIONED BY ({partitioned}) " if partition_by else "")
        + f"COMMENT {string_literal(comment)} TBLPROPERTIES ({listed})"
    )
    try:
        spark.sql(statement)
    except Exception:
        # Of two that create at once, one fails; the other's table serves both.
        if not table.exists(spark):
            raise
        return False
    return True


def with_columns(spark: SparkSession, table: Table, rows: StructType) -> None:
    """Add the columns of `rows` that the table lacks, in a commit of their own.

    Safe when several runs do so at once. Raises TypeMismatch for a column whose type differs,
    UsageError for a name that Delta's lowest protocol does not take, and CommitConflict when
    other writers kept changing the table.
    """

    def lacking() -> tuple[str, ...]:
        return check_rows_fit(rows, table.read(spark).schema, where=table.name)

    def add() -> None:
        while missing := lacking():
            check_names_are_plain(missing, where=table.name)
            listed = columns_ddl(type(rows)([rows[name] for name in missing]))
            try:
                spark.sql(f"ALTER TABLE {table.sql_name} ADD COLUMNS ({listed})")
            except Exception as error:
                # Of two that add at once, one fails; the other's columns may serve both.
                if lost_a_race(error) or lacking() == missing:
                    raise
            else:
                return

    past_races(add, table)


def properties_sql(properties: Mapping[str, str]) -> str:
    """Table properties as they stand between the brackets of TBLPROPERTIES."""
    return ", ".join(
        f"{string_literal(name)} = {string_literal(value)}" for name, value in properties.items()
    )


def check_role(table: Table, properties: Mapping[str, str], role: str) -> None:
    """Raise ForeignTable unless lakescore made the table for this role."""
    found = properties.get(ROLE)
    if found == role:
        return
    hint = "name another table under `predictions`; lakescore makes it in its first run"
    if found is None and role == "predictions":
        hint += (
            f". Or take this one over: lakescore adopt NAME --table {table.name} "
            "--source-version V, where V is the version of the source that it was made from"
        )
    made = "lakescore did not make it" if found is None else f"lakescore made it as its {found}"
    raise ForeignTable(
        f"{table.name} is not a {role} table: {made}",
        where=table.location,
        hint=hint,
    )
